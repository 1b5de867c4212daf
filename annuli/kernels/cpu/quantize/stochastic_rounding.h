#pragma once

#include "annuli/kernels/quantize/stochastic_rounding.h"

namespace annuli::kernels::cpu {

// Both in one piece.
void round_stochastically(const at::Tensor& values, const CounterRng& rng,
                          Operand operand, at::Tensor& target);

}  // namespace annuli::kernels::cpu
