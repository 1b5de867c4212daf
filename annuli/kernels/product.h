#pragma once

#include <ATen/core/Tensor.h>

#include <utility>

// Matrix products of training, whose operands may be rounded to bf16. The
// product of two bf16 numbers is exact in fp32, so the only roundings are those
// of the operands and of the fp32 sum.
//
// Two ways lead there, and the processor decides (not a measurement: the same
// kind of machine shall give the same bits): instructions for bf16 where they
// are faster than fp32's; otherwise numbers rounded to bf16 but kept as fp32,
// and multiplied as such. What is kept from the forward to the backward pass is
// bf16 either way; `operand` makes of it what is multiplied.
namespace annuli::kernels {

// True if this processor multiplies bf16 faster than fp32: AMX, or AVX-512's
// bf16 instructions on cores that run them at full rate (AMD's and Cooper Lake;
// from Sapphire Rapids on Intel's have AMX for this and run these at half the
// rate of fp32, docs/log.md).
bool bf16_is_fast();

// bf16 if that is fast, else fp32.
at::ScalarType operand_type();

// x (fp32 or bf16) rounded to bf16, as operand_type(). Shape and strides are
// x's; x itself if it is that already.
at::Tensor operand(const at::Tensor& x);

// x rounded to bf16, as bf16.
at::Tensor narrowed(const at::Tensor& x);

// out = a b, or out += a b. a: [M, K], b: [K, N], of one type: fp32, fp64 or
// bf16 (then `out` is fp32); each contiguous or the transpose of such.
void multiply(at::Tensor& out, const at::Tensor& a, const at::Tensor& b,
              bool accumulate = false);

// A weight [out, in] as a training step multiplies by it: in its own type,
// fp32 or fp64, or rounded to bf16, stored as fp32 or bf16.
struct Matrix {
  Matrix() = default;
  Matrix(at::Tensor weight, bool rounded = false,  // NOLINT: often just one
         at::Tensor copy = {})
      : weight(std::move(weight)), rounded(rounded), copy(std::move(copy)) {}

  bool defined() const { return weight.defined(); }
  // What is multiplied, without a graph.
  at::Tensor operand() const;

  at::Tensor weight;
  bool rounded = false;
  at::Tensor copy;  // the weight in bf16, where that was rounded already
};

}  // namespace annuli::kernels
