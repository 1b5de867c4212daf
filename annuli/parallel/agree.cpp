#include "annuli/parallel/agree.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/core/json.h"
#include "annuli/core/quote.h"
#include "annuli/parallel/peer.h"

namespace annuli::parallel {
namespace {

Json json_of(const Facts& facts) {
  Json list = Json::array({Json{"the host", this_process(0).host}});
  for (const auto& [name, value] : facts) list.push_back({name, value});
  return list;
}

}  // namespace

std::string of_first(ProcessGroup& group, std::string_view text) {
  return group.gather(text).front();
}

int64_t highest(ProcessGroup& group, int64_t number) {
  int64_t highest = number;
  for (const std::string& other : group.gather(std::to_string(number))) {
    highest = std::max<int64_t>(highest, std::stoll(other));
  }
  return highest;
}

std::vector<std::vector<double>> gather_numbers(
    ProcessGroup& group, const std::vector<double>& own) {
  if (group.size() == 1) return {own};
  std::vector<std::vector<double>> all;
  for (const std::string& bytes :
       group.gather({reinterpret_cast<const char*>(own.data()),
                     own.size() * sizeof(double)})) {
    all.emplace_back(bytes.size() / sizeof(double));
    std::memcpy(all.back().data(), bytes.data(), bytes.size());
  }
  return all;
}

size_t rank_that_differs(const std::vector<std::string>& texts) {
  const auto other = std::ranges::find_if(
      texts, [&](const std::string& text) { return text != texts[0]; });
  return other == texts.end() ? 0 : static_cast<size_t>(other - texts.begin());
}

void require_same(ProcessGroup& group, std::string_view doing,
                  std::string_view text, std::string_view advice) {
  const std::vector<std::string> texts = group.gather(text);
  const size_t rank = rank_that_differs(texts);
  if (rank == 0) return;
  throw VerdictError(fmt::format(
      "{}: found {} on rank {} and {} on rank 0, expected the same; {}", doing,
      texts[rank], rank, texts[0], advice));
}

// The host stands before the facts, for the text, and may differ.
void require_equal(ProcessGroup& group, const Facts& facts) {
  std::vector<Json> all;
  for (const std::string& text : group.gather(json_of(facts).dump(
           -1, ' ', false, Json::error_handler_t::replace))) {
    all.push_back(Json::parse(text));
  }
  for (size_t rank = 1; rank < all.size(); ++rank) {
    ANNULI_CHECK(all[rank].size() == all[0].size(), "facts of rank {}", rank);
    for (size_t i = 1; i < all[0].size(); ++i) {
      if (all[rank][i] == all[0][i]) continue;
      const auto value = [&](size_t of) {
        return quote(all[of][i][1].get<std::string>());
      };
      user_error(
          "comparing the processes: {} is {} for rank {} on {} and {} for rank "
          "0 on {}, expected the same for all",
          all[0][i][0].get<std::string>(), value(rank), rank,
          all[rank][0][1].get<std::string>(), value(0),
          all[0][0][1].get<std::string>());
    }
  }
}

}  // namespace annuli::parallel
