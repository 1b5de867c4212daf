#pragma once

#include "annuli/kernels/optim/adamw_8bit.h"

namespace annuli::kernels::cpu {

double adamw_8bit(at::Tensor& parameter, const at::Tensor& gradient,
                  Quantized& m, Quantized& v, const AdamwStep& step);

}  // namespace annuli::kernels::cpu
