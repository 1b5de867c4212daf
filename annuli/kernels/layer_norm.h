#pragma once

#include <ATen/core/Tensor.h>

// LayerNorm (Ba et al., 1607.06450): y = (x - mean(x)) / sqrt(var(x) + eps) *
// gain + bias, over the last dimension, var being the mean of (x - mean(x))^2.
// Statistics in at least fp32, the mean first, so that a large one cancels
// nothing of the variance.
namespace annuli::kernels {

// x: [..., D] fp32 or fp64, gain and bias: [D] of any floating type.
// Differentiable in all three; all gradients are of x's type. The result is of
// type `out`: x's or, for fp32, bf16. Own forward and backward on CPU (first
// derivatives only), the same bits for any number of threads; any other device
// takes the reference.
at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& gain,
                      const at::Tensor& bias, double eps, at::ScalarType out);

// One row, plain memory, y may be x: the same bits as above.
void layer_norm_row(const float* x, const float* gain, const float* bias,
                    int64_t D, double eps, float* y);

namespace reference {
at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& gain,
                      const at::Tensor& bias, double eps);
}

}  // namespace annuli::kernels
