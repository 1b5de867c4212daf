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
  RotaryPositions(at::Tensor frequencies, double amplitude, int64_t head_dim);
  void rotate(float* x, int64_t heads, int64_t position);

 private:
  at::Tensor frequencies_;  // [rotary_dim / 2]
  double amplitude_;
  int64_t head_dim_;
  std::vector<kernels::RotaryTable> blocks_;
};

}  // namespace annuli::decoding
