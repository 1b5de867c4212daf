#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>

#include "annuli/kernels/attention.h"

namespace annuli::kernels {

at::Tensor reference::apply_rotary(const at::Tensor& x,
                                   const RotaryTable& table) {
  const int64_t half = table.cos.size(1);
  at::Tensor cos = table.cos.unsqueeze(1);  // [T, 1, half]
  at::Tensor sin = table.sin.unsqueeze(1);
  at::Tensor low = x.narrow(-1, 0, half);
  at::Tensor high = x.narrow(-1, half, half);
  at::Tensor rest = x.narrow(-1, 2 * half, x.size(-1) - 2 * half);
  return at::cat({low * cos - high * sin, high * cos + low * sin, rest}, -1);
}

}  // namespace annuli::kernels
