#include "tests/support/optimizer_training.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "annuli/grow/grow.h"
#include "annuli/kernels/memory/owned_memory.h"
#include "tests/support/tiny_model.h"

namespace annuli::tiny {
namespace {

double step(OptimizerTrainee& trainee, int64_t number, double rate,
            double router_aux_loss_coef) {
  Transformer& model = trainee.model;
  const int64_t V = model.config().vocab_size;
  const uint64_t batch = 100 + 2 * (number % 4);
  std::vector<at::Tensor> gradients(model.table().size());
  const GradientScope scope(model);
  const Loss loss =
      model.loss(tokens(2, 12, V, batch), tokens(2, 12, V, batch + 1),
                 {.router_aux_loss_coef = router_aux_loss_coef});
  model.backward(loss.total, [&](size_t row, const at::Tensor& gradient) {
    gradients[row] = gradient;
  });
  for (size_t row = 0; row < gradients.size(); ++row) {
    at::Tensor weight = model.weight(row).detach();
    trainee.optimizer.update(
        model.table()[row], row, weight, gradients[row],
        {.learning_rate = rate, .weight_decay = 0.1, .seed = 1});
  }
  return loss.total.item<double>();
}

}  // namespace

OptimizerTrainee trained(Transformer model, const OptimizerPlan& plan,
                         int64_t steps, double rate,
                         double router_aux_loss_coef) {
  const size_t rows = model.table().size();
  OptimizerTrainee trainee{std::move(model), train::Optimizer(plan, rows)};
  train(trainee, 0, steps, rate, router_aux_loss_coef);
  return trainee;
}

OptimizerTrainee copy(const OptimizerTrainee& original) {
  std::vector<optim::TensorState> states = original.optimizer.states();
  for (optim::TensorState& state : states) {
    optim::visit_parts(state, [](const char*, at::Tensor& part) {
      if (part.defined()) part = kernels::owned_copy(part);
    });
  }
  return {clone(original.model),
          train::Optimizer(original.optimizer.plan(), std::move(states))};
}

OptimizerTrainee grown(const OptimizerTrainee& parent,
                       const grow::Recipe& recipe,
                       const grow::StateGrowth& growth) {
  OptimizerTrainee origin = copy(parent);
  auto states =
      grow::grow_state(recipe, origin.optimizer.take_states(), growth);
  return {grow::grow(std::move(origin.model), recipe),
          train::Optimizer(parent.optimizer.plan(), std::move(states))};
}

std::vector<double> train(OptimizerTrainee& trainee, int64_t first,
                          int64_t steps, double rate,
                          double router_aux_loss_coef) {
  std::vector<double> losses;
  for (int64_t i = 0; i < steps; ++i) {
    losses.push_back(step(trainee, first + i, rate, router_aux_loss_coef));
  }
  return losses;
}

double largest_difference(const std::vector<double>& a,
                          const std::vector<double>& b) {
  double largest = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, std::abs(a[i] - b[i]));
  }
  return largest;
}

}  // namespace annuli::tiny
