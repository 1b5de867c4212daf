#pragma once

#include "annuli/kernels/optim/adafactor.h"

namespace annuli::kernels::cpu {

// A matrix and its factors, each in one piece.
double adafactor(at::Tensor& parameter, const at::Tensor& gradient,
                 at::Tensor& rows, at::Tensor& columns,
                 const AdafactorStep& step);

}  // namespace annuli::kernels::cpu
