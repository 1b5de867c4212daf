#pragma once

#include "annuli/kernels/optim/adamw.h"

namespace annuli::kernels::cpu {

// Weights and moments in one piece.
double adamw(at::Tensor& parameter, const at::Tensor& gradient, at::Tensor& m,
             at::Tensor& v, const AdamwStep& step);

}  // namespace annuli::kernels::cpu
