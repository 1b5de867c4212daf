#pragma once

#include <torch/csrc/autograd/variable.h>

#include "annuli/kernels/product.h"

// The three products of a linear layer y = x W^T + b, and how its weight is
// kept for the backward pass: what Functions with linear layers are made of.
namespace annuli::kernels {

// [..., D] -> [N, D], contiguous.
at::Tensor rows_of(const at::Tensor& x);

// x [N, in] is what is multiplied: rounded if the matrix is. -> [N, out], fp32
// or fp64; an undefined bias is none.
at::Tensor layer_output(const at::Tensor& x, const Matrix& matrix,
                        const at::Tensor& bias);

// dx += dy W; an undefined dx is 0. dy [N, out] is what is multiplied.
void add_input_gradient(at::Tensor& dx, const at::Tensor& dy,
                        const Matrix& matrix);

// dy^T x: [out, in], fp32 or fp64.
at::Tensor weight_gradient(const at::Tensor& dy, const at::Tensor& x);

// Appends a matrix's two tensors to what a Function saves, and finds them.
void save(torch::autograd::variable_list& saved, const Matrix& matrix);
Matrix saved_matrix(const torch::autograd::variable_list& saved, size_t index,
                    bool rounded);

}  // namespace annuli::kernels
