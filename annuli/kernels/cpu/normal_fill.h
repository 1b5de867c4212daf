#pragma once

#include "annuli/kernels/normal_fill.h"

namespace annuli::kernels::cpu {

void fill_normal(at::Tensor& tensor, const CounterRng& rng, double std);

}  // namespace annuli::kernels::cpu
