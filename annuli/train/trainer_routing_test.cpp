// What a step does with experts: ties, rows without a gradient, the router's
// losses and its projection.
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <vector>

#include "annuli/data/test_files.h"
#include "annuli/train/batch_tensors.h"
#include "annuli/train/trainer.h"
#include "tests/support/tensor_checks.h"
#include "tests/support/tiny_model.h"

namespace annuli::train {
namespace {

using test::same_bits;

class TrainerRouting : public data::DataTest {
 protected:
  using Change = std::function<void(TrainPlan&)>;

  // A mixture, its optimizer, and windows of `length` tokens.
  struct Trained {
    Transformer model =
        tiny::model(tiny::config({.mixture = true, .gated = true}), at::kFloat);
    Optimizer optimizer{OptimizerPlan{}, model.table().size()};
    StepRecord record;
  };

  void write_text(const std::function<int32_t(uint64_t)>& id) {
    std::vector<int32_t> ids;
    for (uint64_t i = 0; i < 2000; ++i) ids.push_back(id(i));
    file_.emplace(write_tokens({ids}, 61));
  }
  void write_random_text() { file_.emplace(write_random(2000, 61)); }
  data::Loader loader(int64_t length) const {
    return {*file_, {{0, 2000}}, length, 1, "t"};
  }
  static TrainPlan plan(const Change& change) {
    TrainPlan train;
    train.batch_size = 2;
    train.learning_rate = 1e-2;
    change(train);
    return train;
  }

  // One step from the same start.
  Trained step(const Change& change, int64_t length,
               const std::function<void(Transformer&)>& prepare = {}) const {
    Trained trained;
    if (prepare) prepare(trained.model);
    data::Loader windows = loader(length);
    const TrainPlan train = plan(change);
    Trainer trainer(trained.model, trained.optimizer, windows, train, 0.1, 7);
    trained.record = trainer.step(1);
    return trained;
  }

  // The first batch of a step, before it.
  Loss first_loss(int64_t length, const LossOptions& options = {}) const {
    data::Loader windows = loader(length);
    const data::Batch batch = windows.next(2);
    Trained start;
    return start.model.loss(tokens_of(batch, at::kCPU),
                            targets_of(batch, at::kCPU), options);
  }

  std::optional<data::TokenFile> file_;
};

void zero_routers(Transformer& model) {
  for (size_t row = 0; row < model.table().size(); ++row) {
    if (model.table()[row].part == Part::kRouter) model.weight(row).zero_();
  }
}

// Two passes over the same tokens, all experts equal: other experts by draw.
TEST_F(TrainerRouting, EachPassOfAStepDrawsItsTiesAnew) {
  write_text([](uint64_t) { return 5; });
  const Trained trained = step(
      [](auto& t) {
        t.gradient_accumulation_steps = 2;
        t.router_mean_projection = false;
      },
      12, zero_routers);
  int odd = 0;
  for (const auto& layer : trained.record.load) {
    for (const int64_t slots : layer) odd += static_cast<int>(slots % 2);
  }
  EXPECT_GT(odd, 0) << "both passes chose the same experts";
}

// Two windows of two tokens leave experts without a slot, and their weights
// without a gradient: they decay all the same, in every way to take a step.
TEST_F(TrainerRouting, RowsWithoutAGradientAreUpdatedToo) {
  write_random_text();
  const auto no_loss = [](TrainPlan& t) {
    t.router_aux_loss_coef = 0;
    t.router_mean_projection = false;
  };
  const Trained start;
  const Trained inside = step(no_loss, 2);
  ASSERT_GT(dead_experts(inside.record), 0);
  const Trained whole = step(
      [&](TrainPlan& t) {
        no_loss(t);
        t.max_grad_norm = 1e9;
      },
      2);
  for (size_t row = 0; row < start.model.table().size(); ++row) {
    const std::string& name = start.model.table()[row].name;
    EXPECT_TRUE(same_bits(inside.model.weight(row), whole.model.weight(row)))
        << name;
    EXPECT_FALSE(same_bits(inside.model.weight(row), start.model.weight(row)))
        << name;
  }
}

TEST_F(TrainerRouting, TheRoutersLossesAreRecorded) {
  write_random_text();
  const Loss loss = first_loss(12, {.as_trained = true});
  const StepRecord record =
      step([](auto& t) { t.router_z_loss_coef = 0.01; }, 12).record;
  EXPECT_EQ(record.loss, loss.cross_entropy.item<double>());
  EXPECT_EQ(record.aux_loss, loss.aux.item<double>());
  EXPECT_EQ(record.z_loss, loss.z.item<double>());
  EXPECT_GT(record.z_loss, 0);
}

// After a step no router sees the mean activation of that step. The component
// that is left is rounding: D products of fp32.
TEST_F(TrainerRouting, AProjectedRouterIsOrthogonalToTheMean) {
  write_random_text();
  const Loss loss = first_loss(12, {.as_trained = true});
  const auto largest_share = [&](bool projects) {
    const Trained trained =
        step([&](auto& t) { t.router_mean_projection = projects; }, 12);
    double largest = 0;
    for (size_t layer = 0; layer < loss.router_mean.size(); ++layer) {
      const size_t row = find_row(trained.model.table(), Part::kRouter,
                                  static_cast<int64_t>(layer));
      const at::Tensor router = trained.model.weight(row).detach();
      const at::Tensor& mean = loss.router_mean[layer];
      const at::Tensor share =
          router.mv(mean).abs().max() / (router.norm() * mean.norm());
      largest = std::max(largest, share.item<double>());
    }
    return largest;
  };
  EXPECT_LT(largest_share(true), 1e-6);
  EXPECT_GT(largest_share(false), 1e-3);
}

}  // namespace
}  // namespace annuli::train
