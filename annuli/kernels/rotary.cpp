#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/sin.h>

#include "annuli/core/error.h"
#include "annuli/kernels/attention.h"

namespace annuli::kernels {

RotaryTable rotary_table(int64_t first, int64_t T, int64_t head_dim,
                         double theta, at::ScalarType dtype,
                         at::Device device) {
  ANNULI_CHECK(head_dim % 2 == 0, "head_dim {}", head_dim);
  auto options = at::TensorOptions(dtype).device(device);
  at::Tensor exponent = at::arange(0, head_dim, 2, options) / head_dim;
  at::Tensor inverse_frequency = at::pow(theta, exponent).reciprocal();
  at::Tensor position = at::arange(first, first + T, options);
  at::Tensor angle = at::outer(position, inverse_frequency);
  return {at::cos(angle), at::sin(angle)};
}

at::Tensor apply_rotary(const at::Tensor& x, const RotaryTable& table) {
  return reference::apply_rotary(x, table);
}

at::Tensor reference::apply_rotary(const at::Tensor& x,
                                   const RotaryTable& table) {
  const int64_t half = x.size(-1) / 2;
  at::Tensor cos = table.cos.unsqueeze(1);  // [T, 1, head_dim / 2]
  at::Tensor sin = table.sin.unsqueeze(1);
  at::Tensor low = x.narrow(-1, 0, half);
  at::Tensor high = x.narrow(-1, half, half);
  return at::cat({low * cos - high * sin, high * cos + low * sin}, -1);
}

}  // namespace annuli::kernels
