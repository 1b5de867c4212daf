#pragma once

#include "annuli/kernels/optim/sgd.h"

namespace annuli::kernels::cpu {

// Weights and momentum in one piece.
double sgd(at::Tensor& parameter, const at::Tensor& gradient, at::Tensor& m,
           const SgdStep& step);

}  // namespace annuli::kernels::cpu
