// What a step does with experts: ties, rows without a gradient, the router's
// losses and its projection.
#include <ATen/TensorOperators.h>
#include <ATen/ops/outer.h>
#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "annuli/data/test_files.h"
#include "annuli/parallel/solo.h"
#include "annuli/train/batch_tensors.h"
#include "annuli/train/router_projection.h"
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
    Trainer trainer(trained.model, trained.optimizer, windows, train, 0.1, 7,
                    parallel::solo());
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
  // Nor do they add to the norm.
  EXPECT_NEAR(inside.record.grad_norm, whole.record.grad_norm,
              1e-12 * whole.record.grad_norm);
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

TEST(StepRecord, SaysHowUnevenTheExpertsAre) {
  StepRecord record;
  EXPECT_EQ(load_imbalance(record), 1) << "dense";
  EXPECT_EQ(dead_experts(record), 0);
  record.load = {{4, 0, 0, 4}, {2, 2, 2, 2}, {1, 5, 1, 1}};
  // The fullest over the mean of 2: 2, 1 and 2.5.
  EXPECT_DOUBLE_EQ(load_imbalance(record), 5.5 / 3);
  EXPECT_EQ(dead_experts(record), 2);
}

// A rate of zero leaves the routers equal: the ties alone differ, and no two
// passes of a run fall alike.
TEST_F(TrainerRouting, EachStepDrawsItsTiesAnew) {
  write_text([](uint64_t) { return 5; });
  Trained trained;
  zero_routers(trained.model);
  data::Loader windows = loader(12);
  const TrainPlan train = plan([](TrainPlan& t) {
    t.gradient_accumulation_steps = 2;
    t.learning_rate = 0;
  });
  Trainer trainer(trained.model, trained.optimizer, windows, train, 0.1, 7,
                  parallel::solo());
  std::set<std::vector<std::vector<int64_t>>> loads;
  for (int64_t step = 1; step <= 4; ++step) {
    loads.insert(trainer.step(step).load);
  }
  EXPECT_EQ(loads.size(), 4u);
}

// What a step of two passes writes down: means of losses, sums of slots and
// tokens. Halves of fp32 numbers and their sum are exact in fp64.
TEST_F(TrainerRouting, ARecordIsOfAllPasses) {
  write_random_text();
  data::Loader windows = loader(12);
  const Trained start;
  std::vector<Loss> losses;
  for (int pass = 0; pass < 2; ++pass) {
    const data::Batch batch = windows.next(2);
    losses.push_back(start.model.loss(tokens_of(batch, at::kCPU),
                                      targets_of(batch, at::kCPU),
                                      {.as_trained = true}));
  }
  const auto mean = [&](at::Tensor Loss::*part) {
    return ((losses[0].*part).item<double>() +
            (losses[1].*part).item<double>()) /
           2;
  };
  const Trained trained =
      step([](auto& t) { t.gradient_accumulation_steps = 2; }, 12);
  const StepRecord& record = trained.record;
  EXPECT_EQ(record.step, 1);
  EXPECT_EQ(record.tokens, 2 * 2 * 12);
  EXPECT_EQ(record.learning_rate, 1e-2);
  EXPECT_EQ(record.loss, mean(&Loss::cross_entropy));
  EXPECT_EQ(record.aux_loss, mean(&Loss::aux));
  EXPECT_EQ(record.z_loss, mean(&Loss::z));
  ASSERT_EQ(record.load.size(), 3u);
  for (size_t layer = 0; layer < record.load.size(); ++layer) {
    for (size_t e = 0; e < record.load[layer].size(); ++e) {
      EXPECT_EQ(record.load[layer][e],
                losses[0].load[layer][e] + losses[1].load[layer][e]);
    }
  }
}

// The mean activation is that of all passes.
TEST_F(TrainerRouting, AProjectionIsOfAllPasses) {
  write_random_text();
  data::Loader windows = loader(12);
  const Trained start;
  std::vector<at::Tensor> means(3);
  for (int pass = 0; pass < 2; ++pass) {
    const data::Batch batch = windows.next(2);
    const Loss loss =
        start.model.loss(tokens_of(batch, at::kCPU),
                         targets_of(batch, at::kCPU), {.as_trained = true});
    for (size_t layer = 0; layer < means.size(); ++layer) {
      const at::Tensor& part = loss.router_mean[layer];
      means[layer] = pass == 0 ? part : means[layer] + part;
    }
  }
  const Trained trained = step(
      [](auto& t) {
        t.gradient_accumulation_steps = 2;
        t.router_mean_projection = true;
      },
      12);
  for (size_t layer = 0; layer < means.size(); ++layer) {
    const size_t row = find_row(trained.model.table(), Part::kRouter,
                                static_cast<int64_t>(layer));
    const at::Tensor router = trained.model.weight(row).detach();
    const at::Tensor share = router.mv(means[layer]).abs().max() /
                             (router.norm() * means[layer].norm());
    EXPECT_LT(share.item<double>(), 1e-6) << layer;
  }
}

// In fp64 what is left is rounding of fp64; a mean of zero is no direction.
TEST(ProjectRouters, TakesTheMeansComponentAndNothingElse) {
  Transformer model =
      tiny::model(tiny::config({.mixture = true, .gated = true}), at::kDouble);
  std::vector<at::Tensor> means;
  for (int64_t layer = 0; layer < 3; ++layer) {
    means.push_back(test::random_tensor({model.config().hidden_size},
                                        std::to_string(layer)));
  }
  means[1].zero_();
  const Transformer before = tiny::clone(model);
  project_routers(model, means, CounterRng(1, "rounding"));
  for (size_t row = 0; row < model.table().size(); ++row) {
    const TensorSpec& spec = model.table()[row];
    const at::Tensor& was = before.weight(row);
    if (spec.part != Part::kRouter || spec.layer == 1) {
      EXPECT_TRUE(same_bits(model.weight(row), was)) << spec.name;
      continue;
    }
    const at::Tensor unit = means[spec.layer] / means[spec.layer].norm();
    const at::Tensor taken = was - model.weight(row);
    // All that is taken lies along the mean, and all along it is taken.
    EXPECT_LT(tiny::relative_error(taken, at::outer(was.mv(unit), unit)),
              1e-14);
  }
}

}  // namespace
}  // namespace annuli::train
