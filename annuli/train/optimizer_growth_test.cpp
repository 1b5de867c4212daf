// Growth in the middle of training, with every optimizer: with its state
// carried and `dynamics: exact` the child repeats the parent's losses.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "annuli/grow/grow.h"
#include "annuli/grow/optimizer_state.h"
#include "annuli/grow/widen.h"
#include "annuli/train/optimizer.h"
#include "tests/support/tiny_model.h"

namespace annuli::train {
namespace {

struct Trainee {
  Transformer model;
  Optimizer optimizer;
};

double step(Trainee& trainee, int64_t number, double rate) {
  Transformer& model = trainee.model;
  const int64_t V = model.config().vocab_size;
  const uint64_t batch = 100 + 2 * (number % 4);
  std::vector<at::Tensor> gradients(model.table().size());
  const GradientScope scope(model);
  const Loss loss = model.loss(tiny::tokens(2, 12, V, batch),
                               tiny::tokens(2, 12, V, batch + 1));
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

std::vector<double> train(Trainee& trainee, int64_t first, int64_t steps,
                          double rate) {
  std::vector<double> losses;
  for (int64_t i = 0; i < steps; ++i) {
    losses.push_back(step(trainee, first + i, rate));
  }
  return losses;
}

struct Case {
  const char* name;
  OptimizerPlan plan;
  double rate;
};

class OptimizerGrowth : public testing::TestWithParam<Case> {
 protected:
  // A model after 20 steps; eps large enough to be felt.
  Trainee trained() const {
    ModelConfig config = tiny::config({.gated = true, .tied = false});
    config.num_hidden_layers = 2;
    Transformer model = tiny::model(config, at::kDouble);
    const size_t rows = model.table().size();
    OptimizerPlan plan = GetParam().plan;
    plan.adam_epsilon = 1e-4;
    Trainee trainee{std::move(model), Optimizer(plan, rows)};
    train(trainee, 0, 20, GetParam().rate);
    return trainee;
  }

  // The largest difference of the losses of 30 steps from the parent's.
  double difference(const grow::StateGrowth& growth) const {
    Trainee parent = trained();
    const auto expected = train(parent, 20, 30, GetParam().rate);
    Trainee origin = trained();
    const grow::Recipe recipe =
        grow::Widen({2, std::nullopt, WidenHead::kUntie})
            .recipe(origin.model.config(), 3);
    auto states =
        grow::grow_state(recipe, origin.optimizer.take_states(), growth);
    Trainee child{grow::grow(std::move(origin.model), recipe),
                  Optimizer(origin.optimizer.plan(), std::move(states))};
    const auto measured = train(child, 20, 30, GetParam().rate);
    double largest = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
      largest = std::max(largest, std::abs(expected[i] - measured[i]));
    }
    return largest;
  }
};

INSTANTIATE_TEST_SUITE_P(
    Optimizers, OptimizerGrowth,
    testing::Values(
        Case{"adamw", {}, 5e-4},
        Case{"adafactor", {.type = OptimizerType::kAdafactor}, 5e-4},
        Case{"adafactor_relative",
             {.type = OptimizerType::kAdafactor, .scale_parameter = true},
             2e-3},
        Case{"momentum", {.type = OptimizerType::kSgd, .momentum = 0.9}, 1e-2},
        Case{"sgd", {.type = OptimizerType::kSgd}, 3e-2}),
    [](const auto& info) { return info.param.name; });

// Rounding of fp64, 2.2e-16 of losses near 4, with a factor of a thousand for
// what 30 steps amplify.
TEST_P(OptimizerGrowth, ExactDynamicsRetraceTheParent) {
  EXPECT_LE(difference({OptimizerState::kCarry, Dynamics::kExact}), 1e-12);
}

TEST_P(OptimizerGrowth, WithoutTheRatesTheyPart) {
  EXPECT_GE(difference({OptimizerState::kCarry, Dynamics::kPlain}), 1e-4);
}

// Plain descent has no state to lose.
TEST_P(OptimizerGrowth, WithoutTheStateTheyPart) {
  const OptimizerPlan& plan = GetParam().plan;
  const bool keeps = plan.type != OptimizerType::kSgd || plan.momentum > 0;
  const double part = difference({OptimizerState::kReset, Dynamics::kExact});
  if (keeps) {
    EXPECT_GE(part, 1e-4);
  } else {
    EXPECT_LE(part, 1e-12);
  }
}

}  // namespace
}  // namespace annuli::train
