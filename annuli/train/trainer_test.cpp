#include "annuli/train/trainer.h"

#include <ATen/record_function.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/data/test_files.h"
#include "annuli/parallel/solo.h"
#include "tests/support/tensor_checks.h"
#include "tests/support/tiny_model.h"

namespace annuli::train {
namespace {

using test::same_bits;

constexpr int64_t kLength = 12;

// A run of some steps, and what it leaves.
struct Outcome {
  std::vector<double> losses;
  std::vector<double> norms;
  std::vector<at::Tensor> weights;

  bool operator==(const Outcome& other) const {
    bool same = losses == other.losses && norms == other.norms;
    for (size_t row = 0; row < weights.size(); ++row) {
      same = same && same_bits(weights[row], other.weights[row]);
    }
    return same;
  }
};

class TrainerTest : public data::DataTest {
 protected:
  void SetUp() override {
    DataTest::SetUp();
    file_.emplace(write_random(2000, 61));
  }

  data::Loader loader() const { return {*file_, {{0, 2000}}, kLength, 1, "t"}; }

  static ModelConfig config(bool mixture) {
    return tiny::config({.mixture = mixture, .gated = true});
  }

  static TrainPlan plan(const std::function<void(TrainPlan&)>& change) {
    TrainPlan train;
    train.batch_size = 2;
    train.learning_rate = 1e-2;
    train.router_mean_projection = true;
    change(train);
    return train;
  }

  Outcome run(const TrainPlan& train, bool mixture, int64_t steps = 4,
              const OptimizerPlan& optimizer_plan = {}) const {
    return run(tiny::model(config(mixture), at::kFloat), train, steps,
               optimizer_plan);
  }

  Outcome run_coded(const TrainPlan& train, bool mixture,
                    int64_t steps = 4) const {
    return run(tiny::coded_model(config(mixture)), train, steps, {});
  }

  Outcome run(Transformer model, const TrainPlan& train, int64_t steps,
              const OptimizerPlan& optimizer_plan) const {
    Optimizer optimizer(optimizer_plan, model.table().size());
    data::Loader windows = loader();
    Trainer trainer(model, optimizer, windows, train, 0.1, 7, parallel::solo());
    Outcome outcome;
    for (int64_t step = 1; step <= steps; ++step) {
      const StepRecord record = trainer.step(step);
      outcome.losses.push_back(record.loss);
      outcome.norms.push_back(record.grad_norm);
    }
    for (size_t row = 0; row < model.table().size(); ++row) {
      outcome.weights.push_back(model.read_weight(row));
    }
    return outcome;
  }

  std::optional<data::TokenFile> file_;
};

// Below the norms of the first steps, which are near 4.
constexpr double kClip = 0.5;

TEST_F(TrainerTest, TwoPassesAreTheBitsOfTheWholeGradient) {
  for (const bool mixture : {false, true}) {
    const Outcome whole =
        run(plan([](auto& t) { t.max_grad_norm = kClip; }), mixture);
    const Outcome two = run(plan([](auto& t) {
                              t.max_grad_norm = kClip;
                              t.clip = ClipNorm::kTwoPass;
                            }),
                            mixture);
    EXPECT_EQ(whole.losses, two.losses);
    for (size_t row = 0; row < whole.weights.size(); ++row) {
      EXPECT_TRUE(same_bits(whole.weights[row], two.weights[row]));
    }
    for (const double norm : whole.norms) EXPECT_GT(norm, kClip);
    EXPECT_FALSE(whole == run(plan([](auto&) {}), mixture)) << "not clipped";
  }
}

// Weights that are held as codes, each way of a step.
TEST_F(TrainerTest, CodesAreTheSameBitsEachWay) {
  for (const bool mixture : {false, true}) {
    const Outcome whole =
        run_coded(plan([](auto& t) { t.max_grad_norm = kClip; }), mixture);
    EXPECT_EQ(whole, run_coded(plan([](auto& t) {
                                 t.max_grad_norm = kClip;
                                 t.clip = ClipNorm::kTwoPass;
                                 t.gradient_checkpointing = true;
                               }),
                               mixture));
    EXPECT_FALSE(whole == run_coded(plan([](auto&) {}), mixture));
  }
}

// Steps of 1e-4, a hundredth of a code: rounded to nearest, nothing would move.
TEST_F(TrainerTest, CodesTakeStepsThatAreFarSmallerThanACode) {
  const TrainPlan train = plan([](auto& t) { t.learning_rate = 1e-4; });
  const Outcome start = run_coded(train, false, 0);
  const Outcome end = run_coded(train, false, 20);
  Transformer model = tiny::coded_model(config(false));
  size_t moved = 0;
  for (size_t row = 0; row < end.weights.size(); ++row) {
    if (!model.is_coded(row)) continue;
    moved += same_bits(start.weights[row], end.weights[row]) ? 0 : 1;
    const double change = (end.weights[row] - start.weights[row])
                              .to(at::kDouble)
                              .mean()
                              .item<double>();
    EXPECT_LT(std::abs(change), 20 * 1e-4);
  }
  EXPECT_GT(moved, 0U);
}

TEST_F(TrainerTest, UpdatesInsideBackwardAreThoseOfTheWholeGradient) {
  for (const bool mixture : {false, true}) {
    const Outcome inside = run(plan([](auto&) {}), mixture);
    // A threshold that never binds, so that the gradient is held.
    const Outcome whole =
        run(plan([](auto& t) { t.max_grad_norm = 1e9; }), mixture);
    EXPECT_EQ(whole.losses, inside.losses);
    for (size_t row = 0; row < whole.weights.size(); ++row) {
      EXPECT_TRUE(same_bits(whole.weights[row], inside.weights[row]));
    }
    for (size_t i = 0; i < whole.norms.size(); ++i) {
      EXPECT_NEAR(whole.norms[i], inside.norms[i], 1e-12 * whole.norms[i]);
    }
  }
}

// The first step takes two passes; then each is scaled by the norm before it.
TEST_F(TrainerTest, ThePreviousNormIsTheStepBefores) {
  const TrainPlan previous = plan([](auto& t) {
    t.max_grad_norm = kClip;
    t.clip = ClipNorm::kPreviousNorm;
  });
  const TrainPlan whole = plan([](auto& t) { t.max_grad_norm = kClip; });
  EXPECT_EQ(run(previous, false, 1).losses, run(whole, false, 1).losses);
  const Outcome a = run(previous, false, 1);
  const Outcome b = run(whole, false, 1);
  for (size_t row = 0; row < a.weights.size(); ++row) {
    EXPECT_TRUE(same_bits(a.weights[row], b.weights[row]));
  }
  // The second step by hand: plain descent, so that it shows its scale.
  const OptimizerPlan sgd{.type = OptimizerType::kSgd};
  const auto distance = [](const Outcome& x, const Outcome& y) {
    double sum = 0;
    for (size_t row = 0; row < x.weights.size(); ++row) {
      sum += (x.weights[row] - y.weights[row])
                 .to(at::kDouble)
                 .square()
                 .sum()
                 .item<double>();
    }
    return std::sqrt(sum);
  };
  Transformer model = tiny::model(config(false), at::kFloat);
  Optimizer optimizer(sgd, model.table().size());
  data::Loader windows = loader();
  Trainer trainer(model, optimizer, windows, previous, 0, 7, parallel::solo());
  const StepRecord first = trainer.step(1);
  EXPECT_EQ(trainer.previous_norm(), first.grad_norm);
  Outcome before, after;
  for (size_t row = 0; row < model.table().size(); ++row) {
    before.weights.push_back(model.weight(row).clone());
  }
  const StepRecord second = trainer.step(2);
  for (size_t row = 0; row < model.table().size(); ++row) {
    after.weights.push_back(model.weight(row));
  }
  const double moved = second.learning_rate * second.grad_norm * kClip;
  EXPECT_NEAR(distance(before, after), moved / first.grad_norm, 1e-4 * moved);
  EXPECT_GT(std::abs(first.grad_norm / second.grad_norm - 1), 1e-2)
      << "the two norms must differ for this to show";
}

TEST_F(TrainerTest, AResumedRunKnowsThePreviousNorm) {
  const TrainPlan train = plan([](auto& t) {
    t.max_grad_norm = kClip;
    t.clip = ClipNorm::kPreviousNorm;
  });
  const Outcome whole = run(train, true, 4);
  const auto resumed = [&](bool knows) {
    Transformer model = tiny::model(config(true), at::kFloat);
    data::Loader windows = loader();
    Optimizer optimizer({}, model.table().size());
    std::optional<double> norm;
    {
      Trainer trainer(model, optimizer, windows, train, 0.1, 7,
                      parallel::solo());
      trainer.step(1);
      trainer.step(2);
      norm = trainer.previous_norm();
    }
    Trainer trainer(model, optimizer, windows, train, 0.1, 7, parallel::solo(),
                    knows ? norm : std::nullopt);
    trainer.step(3);
    return trainer.step(4).loss;
  };
  EXPECT_EQ(resumed(true), whole.losses[3]);
  EXPECT_NE(resumed(false), whole.losses[3]);
}

// Two batches of one window are one batch of two, to rounding.
TEST_F(TrainerTest, AccumulationIsALargerBatch) {
  const Outcome once = run(plan([](auto&) {}), false);
  const Outcome twice = run(plan([](auto& t) {
                              t.batch_size = 1;
                              t.gradient_accumulation_steps = 2;
                            }),
                            false);
  for (size_t i = 0; i < once.losses.size(); ++i) {
    EXPECT_NEAR(once.losses[i], twice.losses[i], 1e-4);
    EXPECT_NEAR(once.norms[i], twice.norms[i], 1e-3 * once.norms[i]);
  }
}

TEST_F(TrainerTest, ANonFiniteLossUpdatesNothing) {
  Transformer model = tiny::model(config(false), at::kFloat);
  model.weight(0).fill_(std::nan(""));
  const at::Tensor before = model.weight(1).clone();
  Optimizer optimizer({}, model.table().size());
  data::Loader windows = loader();
  const TrainPlan train = plan([](auto&) {});
  Trainer trainer(model, optimizer, windows, train, 0.1, 7, parallel::solo());
  EXPECT_THROW(trainer.step(1), VerdictError);
  EXPECT_TRUE(same_bits(model.weight(1), before));
}

// A balance loss near the largest float, on inputs of routers and experts a
// million times too large: the loss is finite, the routers' gradient is not.
// (Inputs of attention are left as they are: with scores of 1e12 the backward
// pass of LibTorch's is not finite by itself.)
TEST_F(TrainerTest, ANonFiniteGradientIsNamed) {
  const auto error_of = [&](const TrainPlan& train, bool may_update) {
    Transformer model = tiny::model(config(true), at::kFloat);
    std::vector<at::Tensor> before;
    for (size_t row = 0; row < model.table().size(); ++row) {
      if (model.table()[row].name.find("post_attention_layernorm") !=
          std::string::npos) {
        model.weight(row).fill_(1e6);
      }
      before.push_back(model.weight(row).clone());
    }
    Optimizer optimizer({}, model.table().size());
    data::Loader windows = loader();
    Trainer trainer(model, optimizer, windows, train, 0.1, 7, parallel::solo());
    std::string text;
    try {
      trainer.step(1);
    } catch (const VerdictError& error) {
      text = error.what();
    }
    for (size_t row = 0; row < before.size() && !may_update; ++row) {
      EXPECT_TRUE(same_bits(model.weight(row), before[row])) << row;
    }
    return text;
  };
  const auto with = [&](auto change) {
    return plan([&](auto& t) {
      t.router_aux_loss_coef = 1e38;
      change(t);
    });
  };
  using testing::HasSubstr;
  const std::string inside = error_of(with([](auto&) {}), true);
  EXPECT_THAT(inside, HasSubstr("training step 1: the gradient of "));
  EXPECT_THAT(inside, HasSubstr("is not saved"));
  for (const ClipNorm clip : {ClipNorm::kWhole, ClipNorm::kTwoPass}) {
    EXPECT_THAT(error_of(with([&](auto& t) {
                           t.max_grad_norm = 1;
                           t.clip = clip;
                         }),
                         false),
                HasSubstr("is not finite; nothing was updated"));
  }
  EXPECT_EQ(error_of(plan([](auto&) {}), true), "");
}

// Counts the scopes that a profile shows, on this thread.
class ScopeCounts {
 public:
  ScopeCounts() {
    counts().clear();
    handle_ = at::addThreadLocalCallback(
        at::RecordFunctionCallback([](const at::RecordFunction& scope)
                                       -> std::unique_ptr<at::ObserverContext> {
          ++counts()[scope.name()];
          return nullptr;
        }).scopes({at::RecordScope::USER_SCOPE}));
  }
  ~ScopeCounts() { at::removeCallback(handle_); }
  ScopeCounts(const ScopeCounts&) = delete;
  ScopeCounts& operator=(const ScopeCounts&) = delete;

  static std::map<std::string, int64_t>& counts() {
    thread_local std::map<std::string, int64_t> counts;
    return counts;
  }

 private:
  at::CallbackHandle handle_;
};

// `whole` and `two_pass` differ in what they cost alone: the forward passes of
// a first and a second step, as a profile shows them.
TEST_F(TrainerTest, AStepTakesAsManyPassesAsItMust) {
  using Passes = std::pair<int64_t, int64_t>;
  const auto passes = [&](const std::function<void(TrainPlan&)>& change) {
    Transformer model = tiny::model(config(true), at::kFloat);
    Optimizer optimizer({}, model.table().size());
    data::Loader windows = loader();
    const TrainPlan train = plan(change);
    Trainer trainer(model, optimizer, windows, train, 0.1, 7, parallel::solo());
    const auto of_step = [&](int64_t step) {
      const ScopeCounts scopes;
      trainer.step(step);
      EXPECT_EQ(ScopeCounts::counts()["step"], 1);
      EXPECT_EQ(ScopeCounts::counts()["optimizer"], std::ssize(model.table()));
      EXPECT_EQ(ScopeCounts::counts()["router projection"], 1);
      return ScopeCounts::counts()["forward"];
    };
    const int64_t first = of_step(1);
    return Passes(first, of_step(2));
  };
  const auto clipped = [](ClipNorm clip) {
    return [clip](TrainPlan& t) {
      t.max_grad_norm = kClip;
      t.clip = clip;
    };
  };
  EXPECT_EQ(passes([](TrainPlan&) {}), Passes(1, 1));
  EXPECT_EQ(passes(clipped(ClipNorm::kWhole)), Passes(1, 1));
  EXPECT_EQ(passes(clipped(ClipNorm::kTwoPass)), Passes(2, 2));
  EXPECT_EQ(passes(clipped(ClipNorm::kPreviousNorm)), Passes(2, 1));
  EXPECT_EQ(passes([](TrainPlan& t) { t.gradient_accumulation_steps = 3; }),
            Passes(3, 3));
}

TEST_F(TrainerTest, BatchesAheadAreTheLoaders) {
  data::Loader plain = loader(), ahead_loader = loader();
  BatchAhead ahead(ahead_loader, {.in_step = 5, .in_pass = 5});
  for (int step = 0; step < 3; ++step) {
    EXPECT_EQ(ahead.next(0).tokens, plain.next(5).tokens);
    EXPECT_EQ(ahead_loader.state(), plain.state());
  }
  // Whoever moves the loader is heeded.
  ahead_loader.seek({1, 3});
  plain.seek({1, 3});
  EXPECT_EQ(ahead.next(0).tokens, plain.next(5).tokens);
}

// Two passes over windows 2, 3 and 4, 5 of each step's eight.
TEST_F(TrainerTest, AShareOfEachStepIsReadAhead) {
  const data::Loader plain = loader();
  data::Loader shared = loader();
  BatchAhead ahead(shared,
                   {.in_step = 8, .first = 2, .in_pass = 2, .passes = 2});
  for (uint64_t step = 0; step < 3; ++step) {
    EXPECT_EQ(ahead.next(0).tokens, plain.windows(8 * step + 2, 2).tokens);
    EXPECT_EQ(shared.state().next_window, 8 * (step + 1));
    EXPECT_EQ(ahead.next(1).tokens, plain.windows(8 * step + 4, 2).tokens);
  }
}

}  // namespace
}  // namespace annuli::train
