#include "tests/support/bare_training.h"

#include <ATen/ops/zeros_like.h>

#include <utility>

#include "annuli/kernels/memory/owned_memory.h"
#include "annuli/kernels/optim/adamw.h"
#include "tests/support/tiny_model.h"

namespace annuli::tiny {
namespace {

void update(Trainee& trainee, size_t row, const at::Tensor& gradient,
            const TrainingSetup& setup) {
  if (!is_trained(trainee.model.table()[row].part)) return;
  optim::TensorState& state = trainee.states[row];
  at::Tensor weight = trainee.model.weight(row);
  if (!state.m.defined()) {
    state.m = kernels::owned_zeros(weight.sizes(), trainee.model.dtype());
    state.v = kernels::owned_zeros(weight.sizes(), trainee.model.dtype());
  }
  const kernels::AdamwStep step{
      .learning_rate = setup.learning_rate * state.lr_multiplier,
      .beta1 = 0.9,
      .beta2 = 0.99,
      .eps = setup.eps * state.eps_multiplier,
      .weight_decay = setup.weight_decay * state.weight_decay_multiplier,
      .step = ++state.step,
      .gradient_scale = 1,
      .rounding = {static_cast<uint64_t>(state.step),
                   trainee.model.table()[row].name}};
  kernels::adamw(weight,
                 gradient.defined() ? gradient : at::zeros_like(state.m),
                 state.m, state.v, step);
}

double step(Trainee& trainee, int64_t number, const TrainingSetup& setup) {
  const int64_t V = trainee.model.config().vocab_size;
  const uint64_t batch = 100 + 2 * (number % setup.batches);
  const at::Tensor inputs = tokens(2, 12, V, batch);
  const at::Tensor targets = tokens(2, 12, V, batch + 1);
  std::vector<at::Tensor> gradients(trainee.states.size());
  double loss_value = 0;
  {
    const GradientScope scope(trainee.model);
    const Loss loss = trainee.model.loss(
        inputs, targets, {.router_aux_loss_coef = setup.router_aux_loss_coef});
    loss_value = loss.total.item<double>();
    trainee.model.backward(loss.total, [&](size_t row, const at::Tensor& g) {
      gradients[row] = g;
    });
  }
  for (size_t row = 0; row < gradients.size(); ++row) {
    update(trainee, row, gradients[row], setup);
  }
  return loss_value;
}

}  // namespace

Trainee trainee(Transformer model) {
  std::vector<optim::TensorState> states;
  for (size_t row = 0; row < model.table().size(); ++row) {
    const auto shape = model.table()[row].shape();
    states.push_back({.m = kernels::owned_zeros(shape, model.dtype()),
                      .v = kernels::owned_zeros(shape, model.dtype())});
  }
  return {std::move(model), std::move(states)};
}

Trainee copy(const Trainee& original) {
  Trainee result{clone(original.model), original.states};
  for (optim::TensorState& state : result.states) {
    optim::visit_parts(state, [](const char*, at::Tensor& part) {
      if (part.defined()) part = kernels::owned_copy(part);
    });
  }
  return result;
}

std::vector<double> train(Trainee& trainee, int64_t first_step, int64_t steps,
                          const TrainingSetup& setup) {
  std::vector<double> losses;
  for (int64_t i = 0; i < steps; ++i) {
    losses.push_back(step(trainee, first_step + i, setup));
  }
  return losses;
}

}  // namespace annuli::tiny
