#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/outer.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/sin.h>

#include "annuli/core/error.h"
#include "annuli/kernels/attention.h"
#include "annuli/kernels/cpu/attention.h"
#include "annuli/kernels/dispatch.h"
#include "annuli/kernels/tensor_words.h"

namespace annuli::kernels {

at::Tensor rotary_frequencies(int64_t dim, double theta, at::ScalarType dtype,
                              at::Device device) {
  ANNULI_CHECK(dim % 2 == 0, "{} entries to turn", dim);
  auto options = at::TensorOptions(dtype).device(device);
  at::Tensor exponent = at::arange(0, dim, 2, options) / dim;
  return at::pow(theta, exponent).reciprocal();
}

RotaryTable rotary_table(int64_t first, int64_t T,
                         const at::Tensor& frequencies, double amplitude) {
  at::Tensor position = at::arange(first, first + T, frequencies.options());
  at::Tensor angle = at::outer(position, frequencies);
  RotaryTable table{at::cos(angle), at::sin(angle)};
  if (amplitude == 1) return table;
  return {table.cos * amplitude, table.sin * amplitude};
}

at::Tensor apply_rotary(const at::Tensor& x, const RotaryTable& table) {
  ANNULI_CHECK(
      x.dim() == 4 && x.scalar_type() == table.cos.scalar_type() &&
          table.cos.size(0) == x.size(1) && table.cos.size(1) * 2 <= x.size(3),
      "x is {}, the rotary table {}", words_of(x), words_of(table.cos));
  return is_host(x) ? cpu::apply_rotary(x, table)
                    : reference::apply_rotary(x, table);
}

}  // namespace annuli::kernels
