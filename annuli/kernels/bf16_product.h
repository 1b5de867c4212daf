#pragma once

#include <ATen/core/Tensor.h>

// Matrix products whose operands are bf16 and whose sums are fp32. The product
// of two bf16 numbers is exact in fp32, so the only roundings are those of the
// operands and of the sum.
//
// Two ways lead there, and the processor decides (not a measurement: the same
// machine shall give the same bits): instructions for bf16 where they are
// faster than fp32's, otherwise operands widened and multiplied as fp32.
namespace annuli::kernels {

// True if this processor multiplies bf16 faster than fp32: AMX, or AVX-512's
// bf16 instructions on makers' cores that run them at full rate (AMD's and
// Cooper Lake; from Sapphire Rapids on Intel's cores have AMX for this and run
// these at half the rate of fp32, measured in docs/log.md).
bool bf16_is_fast();

// out = a b, or out += a b. a: [M, K], b: [K, N], both bf16 and contiguous or
// the transpose of such; out: [M, N] fp32, contiguous.
void bf16_product(at::Tensor& out, const at::Tensor& a, const at::Tensor& b,
                  bool accumulate = false);

// x W^T + b: x [..., in] fp32 or bf16; weight [out, in] fp32 or bf16; `operand`
// the weight in bf16; bias [out] fp32 or undefined -> [..., out] fp32.
// Differentiable in x, weight and bias; all gradients are fp32, the weight's
// too whatever it is stored in (its leaf must take that, see GradientScope).
at::Tensor bf16_linear(const at::Tensor& x, const at::Tensor& weight,
                       const at::Tensor& operand, const at::Tensor& bias);

namespace reference {
at::Tensor bf16_linear(const at::Tensor& x, const at::Tensor& weight,
                       const at::Tensor& bias);
}

}  // namespace annuli::kernels
