#pragma once

#include <ATen/core/Tensor.h>

// A weight applied in the type of what it is applied to.
//
// Weights may be stored in another type than they are computed with (a mapped
// bf16 file run in fp32 or fp64). They are widened here, at the moment of their
// use and a few rows at a time, so that no widened tensor ever exists whole.
// Where the types agree this is at::linear and nothing else.
namespace annuli {

// x [..., in] W^T [in, out] + b [out]; an undefined bias is none.
at::Tensor project(const at::Tensor& x, const at::Tensor& weight,
                   const at::Tensor& bias = {});

}  // namespace annuli
