#include "annuli/train/frozen_entries.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/data/test_files.h"
#include "annuli/grow/grow.h"
#include "annuli/grow/registry.h"
#include "annuli/model/tensor_part.h"
#include "annuli/parallel/solo.h"
#include "annuli/train/trainer.h"
#include "tests/support/tensor_checks.h"
#include "tests/support/tiny_model.h"

namespace annuli::train {
namespace {

using test::same_bits;

constexpr int64_t kLength = 12;

grow::Recipe recipe_of(const GrowPlan& grow, const ModelConfig& parent) {
  return grow::make_operator(grow)->recipe(parent, 5);
}

GrowPlan widening() {
  GrowPlan grow;
  grow.widen = WidenPlan{.factor = 2, .head = WidenHead::kFold};
  return grow;
}

TEST(FrozenEntries, NameRowsByPartLayerAndExpert) {
  const TensorTable table = tensor_table(tiny::config({.mixture = true}));
  const FreezePlan plan{
      .parts = {TensorPart::kEmbedding}, .layers = {1}, .experts = {2}};
  const FrozenEntries frozen(plan, table, nullptr);
  for (size_t row = 0; row < table.size(); ++row) {
    const TensorSpec& spec = table[row];
    EXPECT_EQ(frozen.is_whole(row), spec.part == Part::kEmbedding ||
                                        spec.layer == 1 || spec.expert == 2)
        << spec.name;
    EXPECT_FALSE(frozen.has_part(row));
  }
}

TEST(FrozenEntries, NewLayersAreNotTheParents) {
  const ModelConfig parent = tiny::config();
  GrowPlan grow;
  grow.deepen = DeepenPlan{.preset = DeepenPreset::kInterpose, .add_layers = 3};
  const grow::Recipe recipe = recipe_of(grow, parent);
  const TensorTable table = tensor_table(recipe.child);
  const FrozenEntries frozen({.parent = true}, table, &recipe);
  for (size_t row = 0; row < table.size(); ++row) {
    const bool is_new =
        table[row].layer >= 0 && !recipe.layer_is_mapped[table[row].layer];
    EXPECT_EQ(frozen.is_whole(row), !is_new) << table[row].name;
  }
}

TEST(FrozenEntries, TheFirstOfEqualExpertsIsTheParents) {
  const ModelConfig parent = tiny::config({.gated = true});
  GrowPlan grow;
  grow.upcycle = UpcyclePlan{.num_experts = 4, .num_experts_per_tok = 2};
  const grow::Recipe recipe = recipe_of(grow, parent);
  const TensorTable table = tensor_table(recipe.child);
  const FrozenEntries frozen({.parent = true}, table, &recipe);
  for (size_t row = 0; row < table.size(); ++row) {
    const bool is_new =
        table[row].expert > 0 || table[row].part == Part::kRouter;
    EXPECT_EQ(frozen.is_whole(row), !is_new) << table[row].name;
  }
}

// Each of the parent's entries once: as many as the parent has.
TEST(FrozenEntries, OfAWiderTensorTheParentsEntriesAreFrozen) {
  for (const tiny::Flavour& flavour : tiny::flavours()) {
    const ModelConfig parent = tiny::config(flavour);
    GrowPlan grow;
    grow.widen = WidenPlan{.factor = 2};
    const grow::Recipe recipe = recipe_of(grow, parent);
    const Transformer child = tiny::model(recipe.child, at::kFloat);
    const FrozenEntries frozen({.parent = true}, child.table(), &recipe);
    int64_t entries = 0;
    for (size_t row = 0; row < child.table().size(); ++row) {
      if (frozen.is_whole(row)) entries += child.table()[row].numel();
      for (const at::Tensor& part : frozen.copy_of(row, child.weight(row))) {
        entries += part.numel();
      }
    }
    EXPECT_EQ(entries, count_parameters(parent).total)
        << tiny::name_of(flavour);
  }
}

TEST(FrozenEntries, AllOfAModelCannotBeFrozen) {
  const TensorTable table = tensor_table(tiny::config());
  const FreezePlan plan{.parts = {TensorPart::kAttention,
                                  TensorPart::kFeedForward,
                                  TensorPart::kEmbedding, TensorPart::kGains}};
  EXPECT_THROW(FrozenEntries(plan, table, nullptr), UserError);
}

TEST(FrozenEntries, TheHashIsOfWhatIsFrozenAlone) {
  const ModelConfig parent = tiny::config();
  const grow::Recipe recipe = recipe_of(widening(), parent);
  Transformer child = tiny::model(recipe.child, at::kFloat);
  const FrozenEntries frozen({.parent = true}, child.table(), &recipe);
  const std::string before = frozen.hash(child);
  const int64_t row = find_row(child.table(), Part::kUp, 0);
  at::Tensor weight = child.weight(row).detach();
  weight.select(0, weight.size(0) - 1).add_(1);  // a copy's last row
  EXPECT_EQ(frozen.hash(child), before);
  weight.select(0, 0).add_(1);
  EXPECT_NE(frozen.hash(child), before);
  EXPECT_EQ(FrozenEntries().hash(child), "");
}

// Steps of one model, with what is frozen left out of the pass, or put back
// after each step of a trainer that knows nothing of it.
class TrainFrozen : public data::DataTest {
 protected:
  void SetUp() override {
    DataTest::SetUp();
    file_.emplace(write_random(2000, 61));
  }

  struct Outcome {
    std::vector<double> losses;
    std::vector<double> norms;
    std::vector<at::Tensor> weights;
    std::vector<optim::TensorState> states;
  };

  Outcome run(Transformer model, const FrozenEntries& frozen, bool by_hand,
              const TrainPlan& train) const {
    Optimizer optimizer({}, model.table().size());
    data::Loader windows(*file_, {{0, 2000}}, kLength, 1, "t");
    Trainer trainer(model, optimizer, windows, train, 0.1, 7, parallel::solo(),
                    std::nullopt, Sharding::kNone, {},
                    by_hand ? FrozenEntries() : frozen);
    Outcome outcome;
    for (int64_t step = 1; step <= 4; ++step) {
      const Transformer before = tiny::clone(model);
      const StepRecord record = trainer.step(step);
      outcome.losses.push_back(record.loss);
      outcome.norms.push_back(record.grad_norm);
      for (size_t row = 0; by_hand && row < model.table().size(); ++row) {
        at::Tensor weight = model.weight(row).detach();
        if (frozen.is_whole(row)) weight.copy_(before.weight(row));
        frozen.put_back(row, frozen.copy_of(row, before.weight(row)), weight);
      }
    }
    for (size_t row = 0; row < model.table().size(); ++row) {
      outcome.weights.push_back(model.weight(row));
    }
    outcome.states = optimizer.states();
    return outcome;
  }

  void expect_equal(const Transformer& model, const FrozenEntries& frozen,
                    const std::function<void(TrainPlan&)>& change) const {
    TrainPlan train;
    train.batch_size = 2;
    train.learning_rate = 1e-2;
    train.router_mean_projection = false;
    change(train);
    const Outcome left_out = run(tiny::clone(model), frozen, false, train);
    const Outcome put_back = run(tiny::clone(model), frozen, true, train);
    EXPECT_EQ(left_out.losses, put_back.losses);
    bool changed = false;
    for (size_t row = 0; row < model.table().size(); ++row) {
      SCOPED_TRACE(model.table()[row].name);
      EXPECT_TRUE(same_bits(left_out.weights[row], put_back.weights[row]));
      const bool is_same = same_bits(left_out.weights[row], model.weight(row));
      if (frozen.is_whole(row)) {
        EXPECT_TRUE(is_same);
        EXPECT_FALSE(left_out.states[row].m.defined());
        EXPECT_EQ(left_out.states[row].step, 0);
      }
      changed = changed || !is_same;
    }
    EXPECT_TRUE(changed);
  }

  std::optional<data::TokenFile> file_;
};

TEST_F(TrainFrozen, IsTrainingTheRest) {
  const std::vector<FreezePlan> plans = {
      {.parts = {TensorPart::kEmbedding}},
      {.parts = {TensorPart::kFeedForward}},
      {.parts = {TensorPart::kAttention, TensorPart::kGains}},
      {.layers = {0, 2}},
      {.parts = {TensorPart::kEmbedding}, .layers = {0, 1}},
      {.parts = {TensorPart::kRouter}, .experts = {0}},
  };
  for (const tiny::Flavour& flavour :
       {tiny::Flavour{.gated = true}, tiny::Flavour{.tied = false},
        tiny::Flavour{.mixture = true, .gated = true}}) {
    const Transformer model = tiny::model(tiny::config(flavour), at::kFloat);
    for (const FreezePlan& plan : plans) {
      SCOPED_TRACE(tiny::name_of(flavour));
      if (!plan.experts.empty() && !flavour.mixture) continue;
      const FrozenEntries frozen(plan, model.table(), nullptr);
      expect_equal(model, frozen, [](TrainPlan&) {});
      expect_equal(model, frozen,
                   [](TrainPlan& t) { t.gradient_checkpointing = true; });
      expect_equal(model, frozen,
                   [](TrainPlan& t) { t.gradient_accumulation_steps = 2; });
    }
  }
}

// The whole gradient, which is held where it may be clipped, has nothing of
// what is frozen.
TEST_F(TrainFrozen, TheNormIsOfWhatIsTrained) {
  const Transformer model = tiny::model(tiny::config(), at::kFloat);
  const FrozenEntries frozen({.parts = {TensorPart::kFeedForward}},
                             model.table(), nullptr);
  TrainPlan train{.learning_rate = 1e-2, .batch_size = 2};
  const Outcome inside = run(tiny::clone(model), frozen, false, train);
  train.max_grad_norm = 1e9;  // never binds
  const Outcome held = run(tiny::clone(model), frozen, false, train);
  const Outcome all = run(tiny::clone(model), {}, false, train);
  EXPECT_EQ(inside.losses, held.losses);
  for (size_t i = 0; i < inside.norms.size(); ++i) {
    EXPECT_NEAR(inside.norms[i], held.norms[i], 1e-12 * held.norms[i]);
  }
  EXPECT_LT(held.norms[0], all.norms[0]);
}

TEST_F(TrainFrozen, OfAWiderModelTheNewEntriesAreTrained) {
  const ModelConfig parent = tiny::config({.gated = true});
  const grow::Recipe recipe = recipe_of(widening(), parent);
  const Transformer child = grow::grow(tiny::model(parent, at::kFloat), recipe);
  const FrozenEntries frozen({.parent = true}, child.table(), &recipe);
  expect_equal(child, frozen, [](TrainPlan&) {});
}

}  // namespace
}  // namespace annuli::train
