#pragma once

#include <ATen/core/Tensor.h>

namespace annuli::kernels::cpu {

at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& gain,
                      const at::Tensor& bias, double eps, at::ScalarType out);

}  // namespace annuli::kernels::cpu
