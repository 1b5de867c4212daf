#pragma once

#include "annuli/kernels/combine.h"

namespace annuli::kernels::cpu {

std::vector<at::Tensor> gather_tokens(const at::Tensor& x,
                                      const at::Tensor& token,
                                      const at::Tensor& row,
                                      const std::vector<int64_t>& sizes,
                                      at::ScalarType type);

at::Tensor combine(const std::vector<at::Tensor>& blocks, const at::Tensor& row,
                   const at::Tensor& gates);

}  // namespace annuli::kernels::cpu
