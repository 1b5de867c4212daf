#pragma once

#include <ATen/core/Tensor.h>

#include "annuli/core/activation.h"

// The activations of feed-forward layers, with the product by the other branch
// where they are gated, in one pass each way. No graph: feed_forward.h has it.
//
// Tensors are contiguous, of one shape and on the CPU. Where `rounded`, results
// are in operand form (product.h) and what is kept for the backward pass is
// bf16; otherwise all is of x's type, fp32 or fp64. The same bits for any
// number of threads.
namespace annuli::kernels {

struct Activated {
  at::Tensor out;  // act(x), or act(gate) * x
  at::Tensor kept_x;
  at::Tensor kept_gate;  // undefined if ungated
};
// `keep`: a backward pass will follow.
Activated activate(Activation kind, const at::Tensor& x, const at::Tensor& gate,
                   bool rounded, bool keep);

struct ActivationGradients {
  at::Tensor out;  // once more: it is cheaper to form than to keep
  at::Tensor dx;
  at::Tensor dgate;
};
ActivationGradients activate_backward(Activation kind, const at::Tensor& dout,
                                      const at::Tensor& kept_x,
                                      const at::Tensor& kept_gate,
                                      bool rounded);

namespace reference {
// Differentiable; any device.
at::Tensor activate(Activation kind, const at::Tensor& x,
                    const at::Tensor& gate);
}  // namespace reference

}  // namespace annuli::kernels
