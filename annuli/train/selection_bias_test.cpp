#include "annuli/train/selection_bias.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/data/test_files.h"
#include "annuli/parallel/solo.h"
#include "annuli/train/batch_tensors.h"
#include "annuli/train/trainer.h"
#include "tests/support/tensor_checks.h"
#include "tests/support/tiny_model.h"

namespace annuli::train {
namespace {

using test::same_bits;
using Loads = std::vector<std::vector<int64_t>>;

ModelConfig config(bool biased = true) {
  return tiny::config(
      {.mixture = true, .gated = true, .selection_bias = biased});
}

at::Tensor bias_of(const Transformer& model, int64_t layer) {
  return model.weight(model.index().row(Part::kSelectionBias, layer));
}

void set_biases(Transformer& model, double value) {
  for (int64_t layer = 0; layer < model.config().num_hidden_layers; ++layer) {
    bias_of(model, layer).fill_(value);
  }
}

bool always(size_t /*row*/) { return true; }

TEST(SelectionBias, MovesOneStepTowardsTheMeanLoad) {
  Transformer model = tiny::model(config(), at::kDouble);
  set_biases(model, 0.5);
  // Means 2, 2.75 and 3.
  move_selection_biases(model, {{4, 0, 2, 2}, {3, 3, 3, 2}, {0, 0, 0, 12}},
                        0.125, always);
  const std::vector<std::vector<double>> expected = {
      {0.375, 0.625, 0.5, 0.5},
      {0.375, 0.375, 0.375, 0.625},
      {0.625, 0.625, 0.625, 0.375}};
  for (int64_t layer = 0; layer < 3; ++layer) {
    EXPECT_TRUE(
        bias_of(model, layer).equal(at::tensor(expected[layer], at::kDouble)))
        << layer;
  }
}

// Steps of 1e-3 are below half of what bf16 tells apart at 1.
TEST(SelectionBias, IsWideInAModelOfBf16) {
  Transformer model = tiny::model(config(), at::kBFloat16);
  ASSERT_EQ(bias_of(model, 0).scalar_type(), at::kFloat);
  set_biases(model, 1);
  const Loads load = {{4, 0, 2, 2}, {4, 0, 2, 2}, {4, 0, 2, 2}};
  for (int i = 0; i < 500; ++i) {
    move_selection_biases(model, load, 1e-3, always);
  }
  // Each sum is rounded by 2^-24 of 1.5 at most.
  constexpr double kRounding = 500 * 1.5 * 0x1p-24;
  EXPECT_NEAR(bias_of(model, 0)[0].item<double>(), 0.5, kRounding);
  EXPECT_NEAR(bias_of(model, 0)[1].item<double>(), 1.5, kRounding);
  EXPECT_EQ(bias_of(model, 0)[2].item<double>(), 1);
}

class SelectionTraining : public data::DataTest {
 protected:
  void SetUp() override {
    DataTest::SetUp();
    file_.emplace(write_random(2000, 61));
  }

  static TrainPlan plan() {
    TrainPlan train;
    train.batch_size = 4;
    train.learning_rate = 0;
    train.router_aux_loss_coef = 0;
    train.router_mean_projection = false;
    return train;
  }

  // Activations with a large mean, as trained models have, and routers of which
  // the first row alone reads it: nearly all tokens choose that expert.
  void skew(Transformer& model) const {
    model.weight(0).add_(0.3);
    data::Loader windows(*file_, {{0, 2000}}, 12, 1, "t");
    const data::Batch batch = windows.next(8);
    const Loss loss =
        model.loss(tokens_of(batch, at::kCPU), targets_of(batch, at::kCPU));
    for (int64_t layer = 0; layer < model.config().num_hidden_layers; ++layer) {
      at::Tensor router = model.weight(model.index().row(Part::kRouter, layer));
      const at::Tensor mean = loss.router_mean[layer].detach();
      const at::Tensor unit = mean / mean.norm();
      router.sub_(router.mv(unit).outer(unit));
      router.select(0, 0).add_(2 * mean / mean.square().sum());
    }
  }

  // Runs steps; tells each record.
  using See = std::function<void(const StepRecord& record, Transformer& model)>;
  void run(Transformer& model, const TrainPlan& train, int64_t steps,
           const See& see, FrozenEntries frozen = {}) const {
    data::Loader windows(*file_, {{0, 2000}}, 12, 1, "t");
    Optimizer optimizer(OptimizerPlan{}, model.table().size());
    Trainer trainer(model, optimizer, windows, train, 0.1, 7, parallel::solo(),
                    std::nullopt, Sharding::kNone, {}, std::move(frozen));
    for (int64_t step = 1; step <= steps; ++step) {
      see(trainer.step(step), model);
    }
    for (size_t row = 0; row < model.table().size(); ++row) {
      if (is_trained(model.table()[row].part)) continue;
      const optim::TensorState& state = optimizer.states()[row];
      EXPECT_EQ(state.step, 0);
      EXPECT_FALSE(state.m.defined() || state.v.defined());
    }
  }

  // Mean imbalance of the first and of the last ten of 110 steps.
  struct Imbalance {
    double first = 0;
    double last = 0;
  };
  // `rate` of the trainer, or `by_hand` beside it.
  Imbalance imbalance(double rate, double by_hand) const {
    Transformer model = tiny::model(config(), at::kFloat);
    set_biases(model, 0);
    skew(model);
    TrainPlan train = plan();
    train.selection_bias_rate = rate;
    train.batch_size = 16;
    Imbalance found;
    run(model, train, 110, [&](const StepRecord& record, Transformer& trained) {
      if (record.step <= 10) found.first += load_imbalance(record) / 10;
      if (record.step > 100) found.last += load_imbalance(record) / 10;
      if (by_hand != 0) {
        move_selection_biases(trained, record.load, by_hand, always);
      }
    });
    return found;
  }

  std::optional<data::TokenFile> file_;
};

// Without a gradient: the weights stay, the biases alone even out the load.
TEST_F(SelectionTraining, EvensOutTheLoadOfASkewedRouter) {
  const Imbalance balanced = imbalance(0.01, 0);
  EXPECT_GT(balanced.first, 1.5);
  EXPECT_LT(balanced.last, 1.35);
  const Imbalance left = imbalance(0, 0);
  EXPECT_GT(left.last, 1.5);
  // The mutant: the other sign.
  const Imbalance wrong = imbalance(0, -0.01);
  EXPECT_GE(wrong.last, left.last);
}

// No gradient, no weight decay, no state; and where the rate is 0, no step.
TEST_F(SelectionTraining, NothingElseMovesABias) {
  Transformer model = tiny::model(config(), at::kFloat);
  const Transformer start = tiny::clone(model);
  TrainPlan train = plan();
  train.learning_rate = 1e-2;
  run(model, train, 3, [](const StepRecord&, Transformer&) {});
  for (size_t row = 0; row < model.table().size(); ++row) {
    const TensorSpec& spec = model.table()[row];
    EXPECT_EQ(same_bits(model.weight(row), start.weight(row)),
              !is_trained(spec.part))
        << spec.name;
  }
}

// The step is that of the loads of all passes together.
TEST_F(SelectionTraining, SeesTheLoadsOfTheWholeStep) {
  for (const bool in_parts : {false, true}) {
    Transformer model = tiny::model(config(), at::kFloat);
    const Transformer start = tiny::clone(model);
    TrainPlan train = plan();
    train.selection_bias_rate = 0.25;
    train.gradient_accumulation_steps = 2;
    if (in_parts) train.micro_batch_size = 1;
    run(model, train, 1, [&](const StepRecord& record, Transformer&) {
      Transformer expected = tiny::clone(start);
      move_selection_biases(expected, record.load, 0.25, always);
      for (int64_t layer = 0; layer < 3; ++layer) {
        EXPECT_TRUE(same_bits(bias_of(model, layer), bias_of(expected, layer)));
        EXPECT_FALSE(same_bits(bias_of(model, layer), bias_of(start, layer)));
      }
    });
  }
}

TEST_F(SelectionTraining, AFrozenRouterKeepsItsBias) {
  TrainPlan train = plan();
  train.selection_bias_rate = 0.25;
  for (const FreezePlan& freeze : {FreezePlan{.parts = {TensorPart::kRouter}},
                                   FreezePlan{.layers = {1}}}) {
    Transformer model = tiny::model(config(), at::kFloat);
    const Transformer start = tiny::clone(model);
    run(
        model, train, 2, [](const StepRecord&, Transformer&) {},
        FrozenEntries(freeze, model.table(), nullptr));
    const bool all = freeze.layers.empty();
    for (int64_t layer = 0; layer < 3; ++layer) {
      EXPECT_EQ(same_bits(bias_of(model, layer), bias_of(start, layer)),
                all || layer == 1)
          << layer;
    }
  }
}

TEST_F(SelectionTraining, ARateNeedsBiases) {
  Transformer model = tiny::model(config(false), at::kFloat);
  TrainPlan train = plan();
  train.selection_bias_rate = 0.001;
  EXPECT_THAT(
      [&] { run(model, train, 1, [](const StepRecord&, Transformer&) {}); },
      testing::ThrowsMessage<UserError>(testing::HasSubstr(
          "training a phase: selection_bias_rate is 0.001, but the model has "
          "no selection biases")));
}

}  // namespace
}  // namespace annuli::train
