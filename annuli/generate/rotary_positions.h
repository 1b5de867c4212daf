#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "annuli/kernels/attention.h"

namespace annuli::decoding {

// Turns heads by the angles of a position, which are computed 64 positions at a
// time.
class RotaryPositions {
 public:
  explicit RotaryPositions(at::Tensor frequencies);
  void rotate(float* x, int64_t heads, int64_t position);

 private:
  at::Tensor frequencies_;  // [head_dim / 2]
  std::vector<kernels::RotaryTable> blocks_;
};

}  // namespace annuli::decoding
