#pragma once

#include <ATen/core/Tensor.h>

#include "annuli/core/rng.h"

// Stochastic gradient descent, torch.optim.SGD's arithmetic but for the weight
// decay, which is decoupled from the gradient as in AdamW (SGDW, 1711.05101):
//   m = momentum m + g          without momentum m = g, and nothing is kept
//   p -= decay p + learning_rate m
namespace annuli::kernels {

struct SgdStep {
  double learning_rate;
  double momentum;
  double decay;           // learning rate times weight decay
  double gradient_scale;  // g is multiplied by this first (clipping)
  CounterRng rounding{0, uint64_t{0}};  // as AdamwStep's
};

// Types, return value and guarantees are those of adamw. `m` is undefined
// without momentum.
double sgd(at::Tensor& parameter, const at::Tensor& gradient, at::Tensor& m,
           const SgdStep& step);

namespace reference {
double sgd(at::Tensor& parameter, const at::Tensor& gradient, at::Tensor& m,
           const SgdStep& step);
}

}  // namespace annuli::kernels
