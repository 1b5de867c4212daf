#include "annuli/data/spelled_tokens.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

#include "annuli/core/error.h"
#include "annuli/core/quote.h"

namespace annuli::data {
namespace {

// The most frequent are named.
constexpr size_t kNamed = 3;

std::vector<AddedToken> numbered(const std::vector<std::string>& tokens) {
  std::vector<AddedToken> added;
  for (const std::string& token : tokens) {
    added.push_back({token, static_cast<int32_t>(added.size())});
  }
  return added;
}

}  // namespace

SpelledTokens::SpelledTokens(const Tokenizer& tokenizer)
    : tokens_(tokenizer.special_tokens()),
      counts_(tokens_.size()),
      matcher_(numbered(tokens_)) {}

void SpelledTokens::count(std::string_view text) {
  matcher_.split(
      text, true, [](std::string_view) {},
      [&](int32_t place) { ++counts_[static_cast<size_t>(place)]; });
}

int64_t SpelledTokens::total() const {
  return std::accumulate(counts_.begin(), counts_.end(), int64_t{0});
}

std::string SpelledTokens::notice() const {
  if (total() == 0) return "";
  std::vector<size_t> order(tokens_.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(
      order, [&](size_t a, size_t b) { return counts_[a] > counts_[b]; });
  std::vector<std::string> named;
  for (size_t i = 0; i < std::min(kNamed, order.size()); ++i) {
    if (counts_[order[i]] == 0) break;
    named.push_back(
        fmt::format("{} {}", quote(tokens_[order[i]]), counts_[order[i]]));
  }
  return fmt::format(
      "documents: the text spells special tokens in {} places ({}), which stay "
      "plain text; where they part documents give --split-at {} (in a plan: "
      "data.split_at)",
      total(), fmt::join(named, ", "), quote(tokens_[order[0]]));
}

}  // namespace annuli::data
