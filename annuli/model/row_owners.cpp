#include "annuli/model/row_owners.h"

#include <algorithm>
#include <numeric>

#include "annuli/core/error.h"

namespace annuli {

RowOwners::RowOwners(const TensorTable& table, int64_t processes)
    : owners_(table.size()),
      rows_(static_cast<size_t>(processes)),
      entries_(static_cast<size_t>(processes)) {
  ANNULI_CHECK(processes > 0, "{} owners", processes);
  std::vector<size_t> order(table.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) {
    if (table[a].layer != table[b].layer) {
      return table[a].layer < table[b].layer;
    }
    return table[a].numel() > table[b].numel();
  });
  for (const size_t row : order) {
    const auto owner = std::ranges::min_element(entries_) - entries_.begin();
    owners_[row] = owner;
    entries_[static_cast<size_t>(owner)] += table[row].trained_entries();
  }
  for (size_t row = 0; row < owners_.size(); ++row) {
    rows_[static_cast<size_t>(owners_[row])].push_back(row);
  }
}

int64_t RowOwners::most_entries() const {
  return *std::ranges::max_element(entries_);
}

}  // namespace annuli
