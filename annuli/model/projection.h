#pragma once

#include <ATen/core/Tensor.h>

#include <utility>

// A weight applied in the type of what it is applied to.
//
// Weights may be stored in another type than they are computed with (a mapped
// bf16 file run in fp32 or fp64). They are widened here, at the moment of their
// use and a few rows at a time, so that no widened tensor ever exists whole.
// Where the types agree this is at::linear and nothing else. Where the matrix
// comes with an operand, the product is kernels::bf16_linear's.
namespace annuli {

// A weight [out, in] as a projection reads it.
struct Matrix {
  Matrix() = default;
  Matrix(at::Tensor weight, at::Tensor operand = {})  // NOLINT: often just one
      : weight(std::move(weight)), operand(std::move(operand)) {}
  bool defined() const { return weight.defined(); }

  at::Tensor weight;
  at::Tensor operand;  // the weight in bf16, if it is to be multiplied so
};

// x [..., in] W^T [in, out] + b [out]; an undefined bias is none.
at::Tensor project(const at::Tensor& x, const Matrix& matrix,
                   const at::Tensor& bias = {});

// The tensor in another type, whole. Its gradient arrives as it is, not
// rounded back to the type it was stored in.
at::Tensor widened(const at::Tensor& stored, at::ScalarType type);

}  // namespace annuli
