#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "annuli/kernels/linear.h"

// A weight applied in the type of what it is applied to.
//
// Weights may be stored in another type than they are computed with (a mapped
// bf16 file run in fp32 or fp64). They are widened here, at the moment of their
// use and a few rows at a time, so that no widened tensor ever exists whole
// (where a gradient is asked for, whole). Where the types agree, and where
// training rounds its operands, this is kernels::linear and nothing else.
namespace annuli {

// x [..., in] W^T [in, out] + b [out]; an undefined bias is none.
at::Tensor project(const at::Tensor& x, const kernels::Matrix& matrix,
                   const at::Tensor& bias = {});

// Several layers that read the same x, one output each.
std::vector<at::Tensor> project_all(
    const at::Tensor& x, const std::vector<kernels::LinearLayer>& layers);

// Whether kernels take the matrix as it is beside such an x.
bool is_multiplied_as_stored(const at::Tensor& x,
                             const kernels::Matrix& matrix);

// The tensor in another type, whole. Its gradient arrives as it is, not
// rounded back to the type it was stored in.
at::Tensor widened(const at::Tensor& stored, at::ScalarType type);

}  // namespace annuli
