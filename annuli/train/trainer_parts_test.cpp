// A step of several parts: micro-batches, summed as a tree.
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <vector>

#include "annuli/data/test_files.h"
#include "annuli/parallel/solo.h"
#include "annuli/parallel/sum_tree.h"
#include "annuli/train/batch_tensors.h"
#include "annuli/train/trainer.h"
#include "tests/support/tensor_checks.h"
#include "tests/support/tiny_model.h"

namespace annuli::train {
namespace {

constexpr uint64_t kSeed = 7;

struct Trained {
  explicit Trained(bool mixture)
      : model(tiny::model(tiny::config({.mixture = mixture, .gated = true}),
                          at::kFloat)),
        optimizer({}, model.table().size()) {}
  Transformer model;
  Optimizer optimizer;
  std::vector<StepRecord> records;
};

class TrainerParts : public data::DataTest {
 protected:
  void SetUp() override {
    DataTest::SetUp();
    file_.emplace(write_random(2000, 61));
  }
  data::Loader loader() const { return {*file_, {{0, 2000}}, 12, 1, "t"}; }

  static TrainPlan plan(int64_t batch_size, std::optional<int64_t> micro,
                        int64_t accumulation = 1) {
    TrainPlan train;
    train.batch_size = batch_size;
    train.micro_batch_size = micro;
    train.gradient_accumulation_steps = accumulation;
    train.learning_rate = 1e-2;
    train.router_z_loss_coef = 0.01;
    train.router_mean_projection = true;
    return train;
  }

  static void zero_routers(Transformer& model) {
    for (size_t row = 0; row < model.table().size(); ++row) {
      if (model.table()[row].part == Part::kRouter) model.weight(row).zero_();
    }
  }

  Trained run(const TrainPlan& train, bool mixture, int64_t steps = 3,
              bool ties = false) const {
    Trained trained(mixture);
    if (ties) zero_routers(trained.model);
    data::Loader windows = loader();
    Trainer trainer(trained.model, trained.optimizer, windows, train, 0.1,
                    kSeed, parallel::solo());
    for (int64_t step = 1; step <= steps; ++step) {
      trained.records.push_back(trainer.step(step));
      const int64_t drawn =
          step * train.batch_size * train.gradient_accumulation_steps;
      EXPECT_EQ(windows.state().next_window, drawn);
      EXPECT_EQ(trained.records.back().tokens, drawn / step * 12);
    }
    return trained;
  }

  static void expect_same(const Trained& a, const Trained& b) {
    for (size_t i = 0; i < a.records.size(); ++i) {
      EXPECT_EQ(a.records[i].loss, b.records[i].loss);
      EXPECT_EQ(a.records[i].aux_loss, b.records[i].aux_loss);
      EXPECT_EQ(a.records[i].z_loss, b.records[i].z_loss);
      EXPECT_EQ(a.records[i].grad_norm, b.records[i].grad_norm);
      EXPECT_EQ(a.records[i].load, b.records[i].load);
    }
    for (size_t row = 0; row < a.model.table().size(); ++row) {
      EXPECT_TRUE(test::same_bits(a.model.weight(row), b.model.weight(row)))
          << a.model.table()[row].name;
    }
  }

  std::optional<data::TokenFile> file_;
};

TEST_F(TrainerParts, TwoAreTwoPassesOfAccumulation) {
  for (const bool mixture : {false, true}) {
    expect_same(run(plan(4, 2), mixture), run(plan(2, {}, 2), mixture));
  }
}

// Experts are drawn by the number of the pass in the step.
TEST_F(TrainerParts, TiesFallByThePass) {
  expect_same(run(plan(4, 2), true, 3, true),
              run(plan(2, {}, 2), true, 3, true));
}

TEST_F(TrainerParts, OneIsTheWholeBatch) {
  for (const bool mixture : {false, true}) {
    expect_same(run(plan(4, 4), mixture), run(plan(4, {}), mixture));
  }
}

// A pass of the first step before it: its loss, and its gradients.
struct Pass {
  double loss = 0;
  double z = 0;
  std::vector<at::Tensor> gradients;
};

// An expert that no token chose has no gradient.
Pass operator+(const Pass& a, const Pass& b) {
  Pass sum{a.loss + b.loss, a.z + b.z, b.gradients};
  for (size_t row = 0; row < a.gradients.size(); ++row) {
    if (!a.gradients[row].defined()) continue;
    at::Tensor& of_row = sum.gradients[row];
    of_row = of_row.defined() ? a.gradients[row] + of_row : a.gradients[row];
  }
  return sum;
}

Pass pass_of(Transformer& model, const data::Batch& batch, int64_t number,
             const TrainPlan& train) {
  const GradientScope scope(model);
  const Loss loss = model.loss(
      tokens_of(batch, at::kCPU), targets_of(batch, at::kCPU),
      {.router_aux_loss_coef = train.router_aux_loss_coef,
       .router_z_loss_coef = train.router_z_loss_coef,
       .tie_break_seed =
           CounterRng(kSeed, "train/ties").bits(step_passes(train) + number),
       .as_trained = true});
  const double share = 1.0 / static_cast<double>(step_passes(train));
  Pass pass{share * loss.cross_entropy.item<double>(),
            share * loss.z.item<double>(),
            {}};
  pass.gradients.resize(model.table().size());
  model.backward(loss.total, [&](size_t row, const at::Tensor& gradient) {
    pass.gradients[row] = gradient;
  });
  return pass;
}

// Four parts of two passes of a window each, summed here by hand; and, as the
// control, the eight one after the other.
TEST_F(TrainerParts, AreSummedAsATree) {
  TrainPlan train = plan(4, 1, 2);
  train.router_mean_projection = false;
  const Trained trained = run(train, true, 1);
  Trained start(true);
  data::Loader windows = loader();
  std::vector<Pass> passes;
  for (int64_t number = 0; number < 8; ++number) {
    passes.push_back(pass_of(start.model, windows.next(1), number, train));
  }
  const auto plus = [](const Pass& a, const Pass& b) { return a + b; };
  const Pass tree = parallel::tree_sum(
      0, 4, [&](int64_t p) { return passes[2 * p] + passes[2 * p + 1]; }, plus);
  Pass in_order = passes[0];
  for (size_t i = 1; i < passes.size(); ++i) in_order = in_order + passes[i];
  EXPECT_EQ(trained.records[0].loss, tree.loss);
  EXPECT_EQ(trained.records[0].z_loss, tree.z);
  bool differs = false;
  for (size_t row = 0; row < start.model.table().size(); ++row) {
    at::Tensor weight = start.model.weight(row).detach();
    start.optimizer.update(start.model.table()[row], row, weight,
                           tree.gradients[row],
                           {.learning_rate = 1e-2,
                            .weight_decay = 0.1,
                            .gradient_scale = 1.0 / 8,
                            .seed = kSeed});
    EXPECT_TRUE(test::same_bits(weight, trained.model.weight(row)))
        << start.model.table()[row].name;
    if (!tree.gradients[row].defined()) continue;
    differs = differs ||
              !test::same_bits(tree.gradients[row], in_order.gradients[row]);
  }
  EXPECT_TRUE(differs) << "the order of the sum does not show";
}

}  // namespace
}  // namespace annuli::train
