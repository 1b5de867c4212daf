#pragma once

#include <ATen/core/Tensor.h>

namespace annuli::kernels::cpu {

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& gain, double eps,
                    at::ScalarType out);

}  // namespace annuli::kernels::cpu
