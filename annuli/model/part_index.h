#pragma once

#include <cstdint>
#include <vector>

#include "annuli/model/tensor_table.h"

// Finds rows of a tensor table by part, layer and expert, in one step: decoding
// asks for each weight of each layer with each token.
namespace annuli {

class PartIndex {
 public:
  explicit PartIndex(const TensorTable& table);

  // The row, or -1 where the table has none. `layer` and `expert` as in
  // TensorSpec.
  int64_t row(Part part, int64_t layer = -1, int64_t expert = -1) const {
    const int64_t place = place_of(part, layer, expert);
    return place < static_cast<int64_t>(rows_.size()) ? rows_[place] : -1;
  }

 private:
  // kSharedExpert, none, experts; layers are outermost.
  int64_t place_of(Part part, int64_t layer, int64_t expert) const {
    const auto p = static_cast<int64_t>(part);
    if (p >= parts_ || expert >= experts_) {
      return static_cast<int64_t>(rows_.size());
    }
    return ((layer + 1) * parts_ + p) * (experts_ + 2) + expert + 2;
  }

  int64_t parts_ = 0;
  int64_t experts_ = 0;
  std::vector<int32_t> rows_;
};

}  // namespace annuli
