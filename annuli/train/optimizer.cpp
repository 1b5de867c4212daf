#include "annuli/train/optimizer.h"

#include <ATen/ops/zeros_like.h>

#include <utility>

#include "annuli/kernels/adamw.h"
#include "annuli/kernels/owned_memory.h"

namespace annuli::train {

Optimizer::Optimizer(OptimizerPlan plan, size_t rows)
    : plan_(plan), states_(rows) {}

Optimizer::Optimizer(OptimizerPlan plan, std::vector<grow::TensorState> states)
    : plan_(plan), states_(std::move(states)) {}

void Optimizer::update(const TensorSpec& spec, size_t row, at::Tensor& weight,
                       const at::Tensor& gradient, double learning_rate,
                       double weight_decay, double gradient_scale) {
  grow::TensorState& state = states_.at(row);
  if (!state.m.defined()) {
    state.m = kernels::owned_zeros(weight.sizes(), weight.scalar_type(),
                                   weight.device());
    state.v = kernels::owned_zeros(weight.sizes(), weight.scalar_type(),
                                   weight.device());
  }
  const double decay = spec.is_matrix() ? weight_decay : 0;
  const kernels::AdamwStep step{
      .learning_rate = learning_rate * state.lr_multiplier,
      .beta1 = plan_.adam_beta1,
      .beta2 = plan_.adam_beta2,
      .eps = plan_.adam_epsilon * state.eps_multiplier,
      .weight_decay = decay * state.weight_decay_multiplier,
      .step = ++state.step,
      .gradient_scale = gradient_scale,
  };
  kernels::adamw(weight, gradient.defined() ? gradient : at::zeros_like(weight),
                 state.m, state.v, step);
}

}  // namespace annuli::train
