#include "annuli/train/weight_sample.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "annuli/config/field.h"
#include "annuli/data/test_files.h"
#include "annuli/grow/deepen.h"
#include "annuli/grow/expand_experts.h"
#include "annuli/grow/grow.h"
#include "annuli/grow/upcycle.h"
#include "annuli/grow/widen.h"
#include "annuli/model/weight_parts.h"
#include "annuli/parallel/solo.h"
#include "annuli/train/trainer.h"
#include "tests/support/tensor_checks.h"
#include "tests/support/thread_group.h"
#include "tests/support/tiny_model.h"

namespace annuli::train {
namespace {

using testing::SizeIs;

// A model of which every matrix is looked at whole: 24 x 40 entries and less.
class WeightSampleTest : public data::DataTest {
 protected:
  void SetUp() override {
    DataTest::SetUp();
    file_.emplace(write_random(2000, 61));
  }

  data::Loader loader() const { return {*file_, {{0, 2000}}, 12, 1, "t"}; }

  static TrainPlan plan() {
    TrainPlan train;
    train.batch_size = 4;
    train.micro_batch_size = 1;
    train.learning_rate = 1e-2;
    return train;
  }

  // Steps of a model; the measures of each.
  std::vector<StepMeasures> train(
      Transformer& model, const grow::Recipe* growth, int64_t steps = 1,
      parallel::ProcessGroup& group = parallel::solo(),
      Sharding shard = Sharding::kNone,
      const std::function<void(TrainPlan&)>& change = [](TrainPlan&) {}) const {
    if (shard == Sharding::kFull && group.size() > 1) {
      hold_in_parts(model, group);
    }
    Optimizer optimizer(OptimizerPlan{}, model.table().size());
    data::Loader windows = loader();
    TrainPlan train = plan();
    change(train);
    Trainer trainer(model, optimizer, windows, train, 0.1, 7, group,
                    std::nullopt, shard);
    WeightSample sample(model.table(), growth);
    std::vector<StepMeasures> measures;
    for (int64_t step = 1; step <= steps; ++step) {
      trainer.step(step, &sample);
      measures.push_back(sample.take(model, group));
    }
    return measures;
  }

  // What the growth makes of a tiny model.
  static Transformer grown(const grow::Recipe& recipe, bool mixture = false) {
    return grow::grow(parent(mixture), recipe);
  }
  static Transformer parent(bool mixture) {
    return tiny::model(config(mixture), at::kFloat);
  }
  static ModelConfig config(bool mixture) {
    return tiny::config({.mixture = mixture, .gated = true});
  }
  static double at_growth(const grow::Recipe& recipe,
                          const Transformer& model) {
    return *WeightSample(model.table(), &recipe)
                .of_weights(model, parallel::solo())
                .copies_apart;
  }

  std::optional<data::TokenFile> file_;
};

double rms(const std::vector<at::Tensor>& tensors) {
  double squares = 0;
  double entries = 0;
  for (const at::Tensor& tensor : tensors) {
    squares += tensor.to(at::kDouble).square().sum().item<double>();
    entries += static_cast<double>(tensor.numel());
  }
  return std::sqrt(squares / entries);
}

constexpr double kRounding = 1e-12;  // of sums of some thousand doubles

TEST_F(WeightSampleTest, IsWhatTheWeightsSay) {
  Transformer model = parent(/*mixture=*/true);
  const Transformer before = tiny::clone(model);
  const StepMeasures found = train(model, nullptr).front();
  std::vector<std::vector<at::Tensor>> of_layer(3);
  std::vector<at::Tensor> changes;
  std::vector<at::Tensor> all;
  for (size_t row = 0; row < model.table().size(); ++row) {
    const TensorSpec& spec = model.table()[row];
    if (spec.layer < 0 || !spec.is_matrix() || spec.part == Part::kRouter) {
      continue;
    }
    const at::Tensor weight = model.weight(row).detach();
    of_layer[spec.layer].push_back(weight);
    all.push_back(weight);
    changes.push_back(weight.to(at::kDouble) -
                      before.weight(row).to(at::kDouble));
  }
  EXPECT_NEAR(found.update_ratio / (rms(changes) / rms(all)), 1, kRounding);
  ASSERT_THAT(found.weight_rms, SizeIs(3));
  for (size_t layer = 0; layer < 3; ++layer) {
    EXPECT_NEAR(found.weight_rms[layer] / rms(of_layer[layer]), 1, kRounding);
  }
  EXPECT_FALSE(found.copies_apart);
  EXPECT_FALSE(found.update_apart);
}

// Of the step's own pass: the stream after each block, over all its windows.
TEST_F(WeightSampleTest, TheStreamIsThatOfThePass) {
  for (const bool checkpointing : {false, true}) {
    Transformer model = parent(/*mixture=*/true);
    const data::Batch batch = loader().next(4);
    const at::Tensor tokens =
        at::tensor(
            std::vector<int64_t>(batch.tokens.begin(), batch.tokens.end()))
            .view({4, 12});
    std::vector<double> expected;
    at::Tensor x = model.embed(tokens);
    for (int64_t layer = 0; layer < 3; ++layer) {
      x = model.block(x, layer);
      expected.push_back(rms({x}));
    }
    const auto found = train(model, nullptr, 1, parallel::solo(),
                             Sharding::kNone, [&](TrainPlan& train) {
                               train.gradient_checkpointing = checkpointing;
                             });
    ASSERT_THAT(found[0].stream_rms, SizeIs(3));
    for (size_t layer = 0; layer < 3; ++layer) {
      // Windows pass one by one here, and all together above: fp32.
      EXPECT_NEAR(found[0].stream_rms[layer] / expected[layer], 1, 1e-6);
    }
  }
}

TEST_F(WeightSampleTest, MeasuringChangesNoBit) {
  Transformer measured = parent(/*mixture=*/true);
  train(measured, nullptr, 3);
  Transformer plain = parent(/*mixture=*/true);
  Optimizer optimizer(OptimizerPlan{}, plain.table().size());
  data::Loader windows = loader();
  const TrainPlan train = plan();
  Trainer trainer(plain, optimizer, windows, train, 0.1, 7, parallel::solo());
  for (int64_t step = 1; step <= 3; ++step) trainer.step(step);
  for (size_t row = 0; row < plain.table().size(); ++row) {
    EXPECT_TRUE(test::same_bits(plain.weight(row), measured.weight(row)))
        << plain.table()[row].name;
  }
}

// Without noise copies get equal gradients for ever; with it they part, though
// they begin apart by the noise alone: 10 dB is a tenth of the copies' energy.
TEST_F(WeightSampleTest, WidenedCopiesPartWithNoiseOnly) {
  const auto widen = [](std::optional<double> noise) {
    return grow::Widen({.factor = 2, .noise_snr_db = noise})
        .recipe(config(false), 1);
  };
  const grow::Recipe bare = widen(std::nullopt);
  Transformer model = grown(bare);
  EXPECT_EQ(at_growth(bare, model), 0);
  for (const StepMeasures& measures : train(model, &bare, 3)) {
    EXPECT_LT(*measures.update_apart, 1e-6);
    EXPECT_LT(*measures.copies_apart, 1e-9);
  }
  const grow::Recipe noisy = widen(10);
  Transformer apart = grown(noisy);
  EXPECT_NEAR(at_growth(noisy, apart), 0.1 / 1.1, 0.005);
  for (const StepMeasures& measures : train(apart, &noisy, 3)) {
    EXPECT_GT(*measures.update_apart, 1e-2);
    EXPECT_GT(*measures.copies_apart, 0.08);
  }
}

// Experts and layers are equal at first; other tokens, and other places, part
// them in the first step.
TEST_F(WeightSampleTest, CopiedExpertsAndLayersPart) {
  const std::vector<std::pair<grow::Recipe, bool>> growths = {
      {grow::Upcycle({.num_experts = 4, .num_experts_per_tok = 2})
           .recipe(config(false), 1),
       false},
      {grow::Upcycle(
           {.num_experts = 8, .num_experts_per_tok = 4, .granularity = 2})
           .recipe(config(false), 1),
       false},
      {grow::ExpandExperts({.factor = 2, .num_experts_per_tok = 3})
           .recipe(config(true), 1),
       true},
      {grow::Deepen({.add_layers = 1}).recipe(config(false), 1), false}};
  for (const auto& [recipe, mixture] : growths) {
    Transformer model = grown(recipe, mixture);
    EXPECT_EQ(at_growth(recipe, model), 0) << recipe.op;
    const auto measures = train(model, &recipe, 2);
    EXPECT_GT(*measures[0].update_apart, 1e-3) << recipe.op;
    EXPECT_GT(*measures[0].copies_apart, 0) << recipe.op;
    EXPECT_GT(*measures[1].copies_apart, *measures[0].copies_apart)
        << recipe.op;
  }
}

// Both copies of an expert are chosen for every token that chooses one: what
// parts them is rounding.
TEST_F(WeightSampleTest, ExpertsThatAreChosenTogetherStayEqual) {
  const grow::Recipe recipe =
      grow::ExpandExperts({.factor = 2}).recipe(config(true), 1);
  Transformer model = grown(recipe, /*mixture=*/true);
  for (const StepMeasures& measures : train(model, &recipe, 2)) {
    EXPECT_LT(*measures.update_apart, 1e-9);
    EXPECT_LT(*measures.copies_apart, 1e-9);
  }
}

bool operator==(const StepMeasures& a, const StepMeasures& b) {
  return a.update_ratio == b.update_ratio && a.weight_rms == b.weight_rms &&
         a.stream_rms == b.stream_rms && a.copies_apart == b.copies_apart &&
         a.update_apart == b.update_apart;
}

// To the bit, whoever holds what, within tensors and across them.
TEST_F(WeightSampleTest, AnyNumberOfProcessesMeasuresTheSame) {
  for (const grow::Recipe& recipe :
       {grow::Upcycle({.num_experts = 4, .num_experts_per_tok = 2})
            .recipe(config(false), 1),
        grow::Widen({.factor = 2, .noise_snr_db = 10})
            .recipe(config(false), 1)}) {
    const auto measure = [&](parallel::ProcessGroup& group, Sharding shard) {
      Transformer model = grown(recipe);
      const auto first =
          WeightSample(model.table(), &recipe).of_weights(model, group);
      auto all = train(model, &recipe, 2, group, shard);
      all.push_back(first);
      return all;
    };
    std::vector<StepMeasures> alone;
    test::run_together(1, [&](parallel::ProcessGroup& group) {
      alone = measure(group, Sharding::kNone);
    });
    for (const Sharding shard :
         {Sharding::kNone, Sharding::kOptimizer, Sharding::kFull}) {
      std::vector<std::vector<StepMeasures>> found(2);
      test::run_together(2, [&](parallel::ProcessGroup& group) {
        found[group.rank()] = measure(group, shard);
      });
      for (const auto& of_process : found) {
        for (size_t i = 0; i < alone.size(); ++i) {
          EXPECT_TRUE(of_process[i] == alone[i])
              << recipe.op << ", " << word_of(shard) << ", measure " << i;
        }
      }
    }
  }
}

// Of 256 x 512 matrices some rows: the estimate of an rms over n normal entries
// is off by 1 / sqrt(2 n), here of some 1000 in each of 7 matrices.
TEST_F(WeightSampleTest, OfALargeMatrixSomeRowsAreLookedAt) {
  ModelConfig large = config(false);
  large.hidden_size = 256;
  large.intermediate_size = 512;
  large.head_dim = 64;
  large.num_hidden_layers = 1;
  const Transformer model = tiny::model(large, at::kFloat);
  const StepMeasures found =
      WeightSample(model.table(), nullptr).of_weights(model, parallel::solo());
  std::vector<at::Tensor> matrices;
  for (size_t row = 0; row < model.table().size(); ++row) {
    const TensorSpec& spec = model.table()[row];
    if (spec.layer == 0 && spec.is_matrix()) {
      matrices.push_back(model.weight(row));
    }
  }
  const double whole = rms(matrices);
  EXPECT_NE(found.weight_rms[0], whole);
  EXPECT_NEAR(found.weight_rms[0] / whole, 1, 5 / std::sqrt(2 * 7 * 1000.));
}

TEST(MeasuredSteps, AreDenseAtFirst) {
  std::vector<int64_t> measured;
  for (int64_t step = 1; step <= 120; ++step) {
    if (is_measured(step, 50, 0)) measured.push_back(step);
  }
  EXPECT_THAT(measured, testing::ElementsAre(1, 2, 4, 8, 16, 32, 50, 64, 100));
  EXPECT_TRUE(is_measured(30, 50, 15));
  EXPECT_FALSE(is_measured(30, 50, 0));
  EXPECT_FALSE(is_measured(1, 0, 1));
}

}  // namespace
}  // namespace annuli::train
