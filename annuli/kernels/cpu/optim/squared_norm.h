#pragma once

#include <ATen/core/Tensor.h>

namespace annuli::kernels::cpu {

// Of a tensor in one piece, fp32, fp64 or bf16.
double squared_norm(const at::Tensor& tensor);

}  // namespace annuli::kernels::cpu
