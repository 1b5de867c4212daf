#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "annuli/kernels/product.h"

// Linear layers that read the same rows, in one node of the graph: the rows are
// rounded once, and their gradient is summed by the products themselves.
namespace annuli::kernels {

struct LinearLayer {
  Matrix matrix;         // [out, in]
  at::Tensor bias = {};  // [out], undefined: none
};

// x [..., in] W^T + b -> [..., out] for each layer. All matrices are rounded or
// none is; x is of the weights' type or, where they are rounded, fp32 or bf16.
// Results and all gradients are fp32 (fp64 for fp64), whatever the weights are
// stored in: their leaves must take that (GradientScope sees to it).
std::vector<at::Tensor> linear(const at::Tensor& x,
                               const std::vector<LinearLayer>& layers);

namespace reference {
at::Tensor linear(const at::Tensor& x, const LinearLayer& layer);
}  // namespace reference

}  // namespace annuli::kernels
