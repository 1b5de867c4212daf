#include "annuli/model/row_stages.h"

#include <algorithm>

namespace annuli {

RowStages::RowStages(const TensorTable& table) {
  int64_t layers = 0;
  for (const TensorSpec& spec : table) {
    layers = std::max(layers, spec.layer + 1);
  }
  rows_.resize(static_cast<size_t>(layers) + 2);
  for (size_t row = 0; row < table.size(); ++row) {
    const TensorSpec& spec = table[row];
    const size_t outside = spec.part == Part::kEmbedding ? 0 : rows_.size() - 1;
    stages_.push_back(spec.layer < 0 ? outside
                                     : static_cast<size_t>(spec.layer) + 1);
    rows_[stages_.back()].push_back(row);
  }
}

}  // namespace annuli
