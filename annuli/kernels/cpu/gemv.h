#pragma once

#include "annuli/kernels/gemv.h"

namespace annuli::kernels::cpu {

at::Tensor gemv(const at::Tensor& x, const at::Tensor& weight,
                const at::Tensor& bias);

}  // namespace annuli::kernels::cpu
