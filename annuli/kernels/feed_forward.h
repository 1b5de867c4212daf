#pragma once

#include <ATen/core/Tensor.h>

#include "annuli/kernels/activation.h"
#include "annuli/kernels/linear.h"

// The feed-forward layer of a dense block or of one expert as one node of the
// graph: down(act(up x)), or down(act(gate x) * up x) where gated. Between the
// passes it keeps the rows it read and the inputs of the activation; what the
// activation gave is formed again.
namespace annuli::kernels {

struct FeedForward {
  LinearLayer up;         // [F, D]
  LinearLayer down;       // [D, F]
  LinearLayer gate = {};  // [F, D], an undefined matrix: ungated
  Activation kind = Activation::kGelu;
};

// x: [..., D] -> [..., D]. Types as in linear.h.
at::Tensor feed_forward(const at::Tensor& x, const FeedForward& layer);

namespace reference {
at::Tensor feed_forward(const at::Tensor& x, const FeedForward& layer);
}

}  // namespace annuli::kernels
