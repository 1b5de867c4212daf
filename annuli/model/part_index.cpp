#include "annuli/model/part_index.h"

#include <algorithm>

namespace annuli {

PartIndex::PartIndex(const TensorTable& table) {
  int64_t layers = 0;
  for (const TensorSpec& spec : table) {
    parts_ = std::max(parts_, static_cast<int64_t>(spec.part) + 1);
    experts_ = std::max(experts_, spec.expert + 1);
    layers = std::max(layers, spec.layer + 1);
  }
  rows_.assign((layers + 1) * parts_ * (experts_ + 2), -1);
  for (size_t row = 0; row < table.size(); ++row) {
    const TensorSpec& spec = table[row];
    rows_[place_of(spec.part, spec.layer, spec.expert)] =
        static_cast<int32_t>(row);
  }
}

}  // namespace annuli
