#pragma once

#include <ATen/core/Tensor.h>

// RMSNorm (Zhang & Sennrich, 1910.07467): y = x / sqrt(mean(x^2) + eps) * gain,
// over the last dimension. Statistics in at least fp32.
namespace annuli::kernels {

// x: [..., D] fp32 or fp64, gain: [D] of any floating type. Differentiable in
// both; all gradients are of x's type. Own forward and backward on CPU (first
// derivatives only), the same bits for any number of threads; any other device
// takes the reference.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& gain, double eps);

// The result in `out`: x's type or, for fp32, bf16.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& gain, double eps,
                    at::ScalarType out);

// One row, plain memory: the same bits as above.
void rms_norm_row(const float* x, const float* gain, int64_t D, double eps,
                  float* y);

namespace reference {
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& gain, double eps);
}

}  // namespace annuli::kernels
