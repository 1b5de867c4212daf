#pragma once

#include "annuli/kernels/quantize/weight_codes.h"

namespace annuli::kernels::cpu {

// All in one piece.
CodedMatrix to_codes(const at::Tensor& values);
void to_codes_at_random(const at::Tensor& values, const CounterRng& rng,
                        CodedMatrix& matrix);
void from_codes(const CodedMatrix& matrix, const at::Tensor& target);

}  // namespace annuli::kernels::cpu
