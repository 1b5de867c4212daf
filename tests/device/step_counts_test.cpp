// What a training step asks of a device. A number or a copy that the host waits
// for costs a device more than many operators do.

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <optional>

#include "annuli/data/test_files.h"
#include "annuli/parallel/solo.h"
#include "annuli/train/trainer.h"
#include "tests/support/pretend_device.h"
#include "tests/support/tiny_model.h"

namespace annuli::train {
namespace {

constexpr int64_t kLayers = 4;

class StepCounts : public data::DataTest {
 protected:
  void SetUp() override {
    DataTest::SetUp();
    file_.emplace(write_random(2000, 61));
  }

  static ModelConfig config(bool mixture) {
    ModelConfig config = tiny::config({.mixture = mixture, .gated = true});
    config.num_hidden_layers = kLayers;
    if (mixture) config.num_experts = 8;
    return config;
  }

  // Of the second step: the first makes the optimizer's state.
  test::DeviceCounts count(const ModelConfig& config,
                           const TrainPlan& train) const {
    Transformer model(config, at::kFloat, test::pretend_device());
    initialize(model, 1);
    Optimizer optimizer({}, model.table().size());
    data::Loader windows(*file_, {{0, 2000}}, 32, 1, "t");
    Trainer trainer(model, optimizer, windows, train, 0.1, 7, parallel::solo());
    trainer.step(1);
    test::begin_counting();
    trainer.step(2);
    return test::counted();
  }

  static TrainPlan plan(bool mixture) {
    TrainPlan train;
    train.batch_size = 4;
    train.router_mean_projection = mixture;
    return train;
  }

  static int64_t tensors(const ModelConfig& config) {
    return static_cast<int64_t>(tensor_table(config).size());
  }

  std::optional<data::TokenFile> file_;
};

// One number a tensor: the squares of its gradient.
TEST_F(StepCounts, Dense) {
  const ModelConfig shape = config(false);
  const test::DeviceCounts seen = count(shape, plan(false));
  fmt::print("a dense step of {} tensors: {}\n", tensors(shape), seen.line());
  EXPECT_LE(seen.items, tensors(shape) + 2);  // the loss, twice
  EXPECT_EQ(seen.to_device, 2);               // tokens and targets
  EXPECT_EQ(seen.to_host, 0);
  EXPECT_LE(seen.operators, 1200);
}

TEST_F(StepCounts, Mixture) {
  const ModelConfig shape = config(true);
  const test::DeviceCounts seen = count(shape, plan(true));
  fmt::print("a mixture's step of {} tensors: {}\n", tensors(shape),
             seen.line());
  // The loss twice, its two parts, and a norm for each router's projection.
  EXPECT_LE(seen.items, tensors(shape) + 4 + kLayers);
  // A layer's logits go to the host, to choose experts, and what it chose comes
  // back and goes once more, to be sorted and counted.
  EXPECT_LE(seen.to_host, 3 * kLayers + 1);
  EXPECT_LE(seen.to_device, 3 * kLayers + 3);
  EXPECT_LE(seen.operators, 3400);
}

// Clipping by the whole gradient's norm asks for it once more.
TEST_F(StepCounts, ClippedDense) {
  const ModelConfig shape = config(false);
  TrainPlan train = plan(false);
  train.max_grad_norm = 1;
  const test::DeviceCounts seen = count(shape, train);
  fmt::print("the same, clipped: {}\n", seen.line());
  EXPECT_LE(seen.items, 2 * tensors(shape) + 2);
}

}  // namespace
}  // namespace annuli::train
