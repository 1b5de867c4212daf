// Growth in the middle of training, with every optimizer: with its state
// carried and `dynamics: exact` the child repeats the parent's losses.
#include <gtest/gtest.h>

#include "annuli/grow/widen.h"
#include "tests/support/optimizer_training.h"
#include "tests/support/tiny_model.h"

namespace annuli::train {
namespace {

struct Case {
  const char* name;
  OptimizerPlan plan;
  double rate;
};

class OptimizerGrowth : public testing::TestWithParam<Case> {
 protected:
  // The largest difference of the losses of 30 steps from the parent's, of a
  // model after 20; eps large enough to be felt.
  double difference(const grow::StateGrowth& growth) const {
    ModelConfig config = tiny::config({.gated = true, .tied = false});
    config.num_hidden_layers = 2;
    OptimizerPlan plan = GetParam().plan;
    plan.adam_epsilon = 1e-4;
    const double rate = GetParam().rate;
    tiny::OptimizerTrainee parent =
        tiny::trained(tiny::model(config, at::kDouble), plan, 20, rate);
    const grow::Recipe recipe =
        grow::Widen({2, std::nullopt, WidenHead::kUntie}).recipe(config, 3);
    tiny::OptimizerTrainee child = tiny::grown(parent, recipe, growth);
    return tiny::largest_difference(tiny::train(parent, 20, 30, rate),
                                    tiny::train(child, 20, 30, rate));
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
