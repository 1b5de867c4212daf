#include "annuli/model/flat_rows.h"

#include <algorithm>
#include <utility>

namespace annuli {

FlatRows::FlatRows(const TensorTable& table, std::vector<size_t> rows)
    : rows_(std::move(rows)) {
  for (const size_t row : rows_) {
    starts_.push_back(entries_);
    counts_.push_back(table[row].numel());
    entries_ += counts_.back();
  }
}

std::vector<Piece> FlatRows::pieces(int64_t begin, int64_t end) const {
  std::vector<Piece> found;
  const auto after = std::ranges::upper_bound(starts_, begin);
  auto i = static_cast<size_t>(after - starts_.begin() - 1);
  end = std::min(end, entries_);
  for (int64_t at = begin; at < end; ++i) {
    const int64_t in_row = at - starts_[i];
    const int64_t left = counts_[i] - in_row;
    const int64_t count = std::min(left, end - at);
    found.push_back({rows_[i], in_row, at - begin, count});
    at += count;
  }
  return found;
}

}  // namespace annuli
