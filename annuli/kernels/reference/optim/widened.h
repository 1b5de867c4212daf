#pragma once

#include <ATen/core/Tensor.h>

#include "annuli/kernels/quantize/stochastic_rounding.h"

namespace annuli::kernels {

// What numbers of this type are computed with.
inline at::ScalarType arithmetic_type(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

namespace reference {

// A stored tensor in the type of the arithmetic, and the way back.
struct Widened {
  Widened(at::Tensor& stored, at::ScalarType arithmetic)
      : stored(stored), values(stored.to(arithmetic)) {}

  void store(const CounterRng& rng, Operand operand) {
    if (values.is_same(stored)) return;
    if (stored.scalar_type() == at::kBFloat16) {
      reference::round_stochastically(values, rng, operand, stored);
    } else {
      stored.copy_(values);
    }
  }

  at::Tensor& stored;
  at::Tensor values;
};

}  // namespace reference

}  // namespace annuli::kernels
