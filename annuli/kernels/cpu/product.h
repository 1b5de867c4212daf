#pragma once

#include <ATen/core/Tensor.h>

// Of product.h on the host.
namespace annuli::kernels::cpu {

// fp32 rounded to bf16, as bf16.
at::Tensor narrowed(const at::Tensor& x);

// fp32 or bf16, rounded to bf16 and kept as fp32.
at::Tensor rounded(const at::Tensor& x);

// out (fp32) = a b, or out += a b, of bf16 factors.
void multiply_bf16(at::Tensor& out, const at::Tensor& a, const at::Tensor& b,
                   bool accumulate);

}  // namespace annuli::kernels::cpu
