#include "annuli/data/split.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "annuli/core/error.h"
#include "annuli/core/rng.h"

namespace annuli::data {
namespace {

// round(fraction * n), but at least one and not all.
int64_t share_of(double fraction, int64_t n) {
  return std::clamp<int64_t>(std::llround(fraction * static_cast<double>(n)), 1,
                             n - 1);
}

void add_document(DocumentSet& set, const TokenFile& file, int64_t document) {
  const TokenRange range = file.document(document);
  if (!set.ranges.empty() && set.ranges.back().end == range.begin) {
    set.ranges.back().end = range.end;
  } else {
    set.ranges.push_back(range);
  }
  set.documents += 1;
  set.tokens += range.size();
  set.text_bytes += file.document_bytes(document);
}

std::vector<bool> choose_validation(int64_t documents, double fraction,
                                    uint64_t seed) {
  const CounterRng rng(seed, "data/split");
  std::vector<int64_t> order(static_cast<size_t>(documents));
  std::iota(order.begin(), order.end(), 0);
  const auto key = [&](int64_t i) {
    return std::pair(rng.bits(static_cast<uint64_t>(i)), i);
  };
  const auto middle = order.begin() + share_of(fraction, documents);
  std::ranges::nth_element(order, middle, {}, key);
  std::vector<bool> chosen(order.size());
  std::for_each(order.begin(), middle,
                [&](int64_t i) { chosen[static_cast<size_t>(i)] = true; });
  return chosen;
}

Split split_single_document(const TokenFile& file, double fraction) {
  if (file.token_count() < 2) {
    user_error(
        "splitting {}: found one token in one document, expected at "
        "least two tokens",
        file.path().string());
  }
  const int64_t tail = share_of(fraction, file.token_count());
  const int64_t cut = file.token_count() - tail;
  const int64_t tail_bytes = std::llround(
      static_cast<double>(file.text_bytes()) * static_cast<double>(tail) /
      static_cast<double>(file.token_count()));
  return {{{{0, cut}}, 1, cut, file.text_bytes() - tail_bytes},
          {{{cut, file.token_count()}}, 1, tail, tail_bytes}};
}

}  // namespace

Split split_documents(const TokenFile& file, double validation_fraction,
                      uint64_t seed) {
  if (!(validation_fraction >= 0 && validation_fraction < 1)) {
    user_error(
        "splitting {}: found a validation fraction of {}, expected 0 "
        "to below 1",
        file.path().string(), validation_fraction);
  }
  if (validation_fraction == 0 || file.document_count() == 0) {
    return {all_documents(file), {}};
  }
  if (file.document_count() == 1) {
    return split_single_document(file, validation_fraction);
  }
  const std::vector<bool> is_validation =
      choose_validation(file.document_count(), validation_fraction, seed);
  Split split;
  for (int64_t i = 0; i < file.document_count(); ++i) {
    const bool held_out = is_validation[static_cast<size_t>(i)];
    add_document(held_out ? split.validation : split.train, file, i);
  }
  return split;
}

DocumentSet all_documents(const TokenFile& file) {
  DocumentSet set;
  for (int64_t i = 0; i < file.document_count(); ++i) {
    add_document(set, file, i);
  }
  return set;
}

}  // namespace annuli::data
