#pragma once

#include <ATen/core/Tensor.h>

// Of symmetric_product.h on the host.
namespace annuli::kernels::cpu {

void multiply_symmetric(at::Tensor& out, const at::Tensor& a,
                        const at::Tensor& b);

}  // namespace annuli::kernels::cpu
