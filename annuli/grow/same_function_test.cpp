#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <utility>

#include "annuli/checkpoint/model_file.h"
#include "annuli/core/error.h"
#include "annuli/grow/apply.h"
#include "annuli/grow/deepen.h"
#include "annuli/grow/grow.h"
#include "annuli/grow/optimizer_state.h"
#include "annuli/grow/untie.h"
#include "annuli/grow/upcycle.h"
#include "annuli/grow/widen.h"
#include "annuli/kernels/normal_fill.h"
#include "tests/support/growth_checks.h"
#include "tests/support/tiny_model.h"

namespace annuli::grow {
namespace {

constexpr int64_t kBatch = 2;
constexpr int64_t kTokens = 12;

at::Tensor probe(const ModelConfig& config, uint64_t seed = 7) {
  return tiny::tokens(kBatch, kTokens, config.vocab_size, seed);
}

double logit_error(const Transformer& parent, const Transformer& child) {
  const at::Tensor tokens = probe(parent.config());
  return tiny::relative_error(parent.logits(tokens), child.logits(tokens));
}

Transformer grown(const Transformer& parent, const Recipe& recipe) {
  return grow(tiny::clone(parent), recipe);
}

// The limits: fp64 has 2.2e-16, times at most some
// hundred roundings along a path through three layers; paired copies with 10 dB
// noise add terms that are larger than their sum, a factor below 10. fp32 has
// 1.2e-7, and 1e-5 is the program's own limit.
double limit(at::ScalarType dtype, bool noise) {
  if (dtype == at::kFloat) return 1e-5;
  return noise ? 1e-12 : 1e-13;
}

struct WidenCase {
  tiny::Flavour flavour;
  WidenHead head;
};

std::vector<WidenCase> widen_cases() {
  std::vector<WidenCase> cases;
  for (const tiny::Flavour& flavour : tiny::all_flavours()) {
    cases.push_back({flavour, WidenHead::kUntie});
    if (!flavour.tied) continue;
    cases.push_back({flavour, WidenHead::kFold});
    cases.push_back({flavour, WidenHead::kMultiplier});
  }
  return cases;
}

std::string case_name(const ::testing::TestParamInfo<WidenCase>& info) {
  return tiny::name_of(info.param.flavour) +
         (info.param.head == WidenHead::kFold         ? "_fold"
          : info.param.head == WidenHead::kMultiplier ? "_multiplier"
                                                      : "_untie");
}

class WidenFunction : public ::testing::TestWithParam<WidenCase> {
 protected:
  Recipe recipe(int64_t n, std::optional<double> snr_db) const {
    return Widen({n, snr_db, GetParam().head}).recipe(config(), 3);
  }
  ModelConfig config() const { return tiny::config(GetParam().flavour); }
};

INSTANTIATE_TEST_SUITE_P(Flavours, WidenFunction,
                         ::testing::ValuesIn(widen_cases()), case_name);

TEST_P(WidenFunction, IsKept) {
  for (at::ScalarType dtype : {at::kDouble, at::kFloat}) {
    const Transformer parent = tiny::model(config(), dtype);
    for (int64_t n : {2, 3, 4}) {
      EXPECT_LE(logit_error(parent, grown(parent, recipe(n, std::nullopt))),
                limit(dtype, false))
          << n;
    }
    EXPECT_LE(logit_error(parent, grown(parent, recipe(2, 10))),
              limit(dtype, true));
    EXPECT_LE(logit_error(parent, grown(parent, recipe(3, 10))),
              limit(dtype, true));
  }
}

TEST_P(WidenFunction, EveryResidualStreamIsTiled) {
  const Transformer parent = tiny::model(config(), at::kDouble);
  const Transformer child = grown(parent, recipe(3, 10));
  const int64_t D = config().hidden_size;
  Trace of_parent, of_child;
  parent.logits(probe(config()), {.trace = &of_parent});
  child.logits(probe(config()), {.trace = &of_child});
  for (size_t layer = 0; layer < of_parent.layers.size(); ++layer) {
    for (int64_t copy = 0; copy < 3; ++copy) {
      EXPECT_LE(tiny::relative_error(
                    of_parent.layers[layer].residual,
                    of_child.layers[layer].residual.narrow(2, copy * D, D)),
                limit(at::kDouble, true))
          << layer;
    }
  }
}

// Without noise every copy's gradient is the parent's times gradient_scale. An
// untied table has lost the head's share of the gradient to the head.
TEST_P(WidenFunction, GradientsFollowTheRecipe) {
  Transformer parent = tiny::model(config(), at::kDouble);
  const Recipe recipe = this->recipe(3, std::nullopt);
  Transformer child = grown(parent, recipe);
  const LossOptions options{.router_aux_loss_coef = 0.01,
                            .router_z_loss_coef = 0.001};
  const at::Tensor targets = probe(config(), 8);
  const auto of_parent =
      tiny::gradients(parent, probe(config()), targets, options);
  auto of_child = tiny::gradients(child, probe(config()), targets, options);
  const bool unties =
      GetParam().flavour.tied && GetParam().head == WidenHead::kUntie;
  if (unties) {
    // head's block + n * table's block; left in the table's place.
    of_child.front() = of_child.front() + of_child.back() / 3;
    of_child.pop_back();
  }
  for (size_t row = 0; row < of_child.size(); ++row) {
    const TensorRecipe& tensor = recipe.tensors[row];
    const int64_t source = find_row(parent.table(), tensor.parent);
    if (!of_parent[source].defined()) continue;  // an expert without tokens
    EXPECT_LE(tiny::relative_error(tiny::followed(tensor, of_parent[source]),
                                   of_child[row]),
              1e-12)
        << tensor.child;
  }
}

// Each fault is one a converter could make; the comparison above must see it.
class WidenFaults : public ::testing::Test {
 protected:
  explicit WidenFaults(WidenHead head = WidenHead::kFold)
      : parent_(tiny::model(tiny::config({.mixture = true, .gated = true}),
                            at::kDouble)),
        recipe_(Widen({2, 10, head}).recipe(parent_.config(), 3)),
        child_(grown(parent_, recipe_)) {}

  at::Tensor weight(Part part, int64_t layer = -1, int64_t expert = -1) {
    return child_.weight(find_row(child_.table(), part, layer, expert));
  }
  void expect_seen() { EXPECT_GE(logit_error(parent_, child_), 1e-2); }

  Transformer parent_;
  Recipe recipe_;
  Transformer child_;
};

TEST_F(WidenFaults, NoneToBeginWith) {
  EXPECT_LE(logit_error(parent_, child_), limit(at::kDouble, true));
}

TEST_F(WidenFaults, RouterNotDivided) {
  for (int64_t layer = 0; layer < 3; ++layer) {
    weight(Part::kRouter, layer).mul_(2);
  }
  expect_seen();
}

TEST_F(WidenFaults, TiedTableHalved) {
  weight(Part::kEmbedding).mul_(0.5);
  expect_seen();
}

TEST_F(WidenFaults, HeadsSwapped) {
  const at::Tensor q = weight(Part::kQ, 1);
  const int64_t hd = child_.config().head_dim;
  const at::Tensor first = q.narrow(0, 0, hd).clone();
  q.narrow(0, 0, hd).copy_(q.narrow(0, hd, hd));
  q.narrow(0, hd, hd).copy_(first);
  expect_seen();
}

TEST_F(WidenFaults, NoiseThatDoesNotCancel) {
  for (int64_t layer = 0; layer < 3; ++layer) {
    const at::Tensor o = weight(Part::kO, layer);
    const int64_t half = o.size(1) / 2;
    o.narrow(1, half, half).copy_(o.narrow(1, 0, half));
  }
  expect_seen();
}

// Operators speak of axes alone, so other factors per axis need no new code:
// here ffn x 3 beside x 2, and twice the query heads over unchanged kv heads
// (the copies of a group stay inside it).
TEST(AxisRules, OtherFactorsPerAxisKeepTheFunctionToo) {
  const Transformer parent =
      tiny::model(tiny::config({.mixture = true,
                                .gated = true,
                                .tied = false,
                                .qk_norm = true,
                                .num_key_value_heads = 2}),
                  at::kDouble);
  AxisRule rule;
  rule.axes = {{Axis::kResidual, tile(24, 2)},
               {Axis::kHead, {{0, 2}, {0, 2}, {2, 2}, {2, 2}}},
               {Axis::kFfn, tile(40, 3)}};
  rule.transforms = {cancelling_noise(10)};
  Recipe recipe;
  recipe.parent = recipe.child = parent.config();
  recipe.child.hidden_size *= 2;
  recipe.child.num_attention_heads *= 2;
  recipe.child.intermediate_size *= 3;
  derive(rule, recipe);
  EXPECT_LE(logit_error(parent, grown(parent, recipe)),
            limit(at::kDouble, true));
  const TensorRecipe& k =
      recipe.tensors[find_row(tensor_table(recipe.child), Part::kK, 0)];
  EXPECT_EQ(k.scale, 0.5);
  EXPECT_EQ(k.gradient_scale, 1);
  // Copies that leave their group read another kv head.
  rule.axes[Axis::kHead] = tile(4, 2);
  derive(rule, recipe);
  EXPECT_GE(logit_error(parent, grown(parent, recipe)), 1e-2);
}

TEST(WidenOnDisk, KeepsTheFunction) {
  const auto folder =
      std::filesystem::path(::testing::TempDir()) / "annuli_widen_on_disk";
  const Transformer parent =
      tiny::model(tiny::config({.mixture = true, .gated = true}), at::kFloat);
  for (WidenHead head : {WidenHead::kFold, WidenHead::kUntie}) {
    const Transformer child =
        grown(parent, Widen({2, 10, head}).recipe(parent.config(), 3));
    save_folder(child, folder);
    const Transformer loaded = load_model(folder);
    std::filesystem::remove_all(folder);
    const at::Tensor tokens = probe(parent.config());
    EXPECT_TRUE(at::equal(child.logits(tokens), loaded.logits(tokens)));
    EXPECT_LE(logit_error(parent, loaded), limit(at::kFloat, true));
  }
}

TEST(UpcycleFunction, IsKeptBitForBitWithAnyRouter) {
  for (at::ScalarType dtype : {at::kDouble, at::kFloat}) {
    for (const tiny::Flavour& flavour : tiny::all_flavours()) {
      if (flavour.mixture) continue;
      const Transformer parent = tiny::model(tiny::config(flavour), dtype);
      for (RouterInit router : {RouterInit::kRandom, RouterInit::kZero}) {
        for (int64_t k : {1, 2, 3}) {
          const Transformer child = grown(
              parent, Upcycle({6, k, router, 0.5}).recipe(parent.config(), 3));
          const at::Tensor tokens = probe(parent.config());
          EXPECT_TRUE(at::equal(
              parent.logits(tokens),
              child.logits(tokens, {.dispatch = Dispatch::kFullBlock})));
          EXPECT_LE(logit_error(parent, child), limit(dtype, false));
        }
      }
    }
  }
}

TEST(UpcycleFunction, AStrangeExpertIsSeen) {
  const Transformer parent = tiny::model(tiny::config(), at::kDouble);
  const Transformer child = grown(
      parent,
      Upcycle({4, 2, RouterInit::kRandom, 0.5}).recipe(parent.config(), 3));
  const int64_t row = find_row(child.table(), Part::kDown, 1, 2);
  const at::Tensor down = child.weight(row);
  down.copy_(down.flip({0}));
  EXPECT_GE(logit_error(parent, child), 1e-2);
}

TEST(UpcycleFunction, RoutersAreOrthogonalToTheMeans) {
  const Transformer parent = tiny::model(tiny::config(), at::kDouble);
  std::vector<at::Tensor> means;
  for (int64_t layer = 0; layer < 3; ++layer) {
    means.push_back(parent.weight(1 + layer).new_ones({24}) * (layer + 1.0));
  }
  const Recipe recipe = Upcycle({}).recipe(parent.config(), 3);
  const Transformer child = grow(tiny::clone(parent), recipe, means);
  for (int64_t layer = 0; layer < 3; ++layer) {
    const at::Tensor router =
        child.weight(find_row(child.table(), Part::kRouter, layer));
    EXPECT_LT(router.matmul(means[layer]).abs().max().item<double>(), 1e-15);
    EXPECT_GT(router.abs().max().item<double>(), 0.01);
  }
}

TEST(DeepenFunction, IsKeptBitForBitWithZeroOutputs) {
  for (const tiny::Flavour& flavour : tiny::all_flavours()) {
    const Transformer parent = tiny::model(tiny::config(flavour), at::kFloat);
    const at::Tensor tokens = probe(parent.config());
    SCOPED_TRACE(tiny::name_of(flavour));
    for (DeepenPreset preset :
         {DeepenPreset::kCopyLast, DeepenPreset::kStack, DeepenPreset::kMiddle,
          DeepenPreset::kInterpose}) {
      DeepenOptions options{.preset = preset, .add_layers = 2};
      const Transformer same =
          grown(parent, Deepen(options).recipe(parent.config(), 3));
      EXPECT_EQ(same.config().num_hidden_layers, 5);
      EXPECT_TRUE(at::equal(parent.logits(tokens), same.logits(tokens)));
      options.outputs = DeepenOutputs::kKeep;
      const Transformer other =
          grown(parent, Deepen(options).recipe(parent.config(), 3));
      EXPECT_GE(logit_error(parent, other), 1e-2);
    }
  }
}

TEST(DeepenFunction, IsKeptBitForBitByRandomLayersWithZeroOutputs) {
  for (const tiny::Flavour& flavour : tiny::all_flavours()) {
    const Transformer parent = tiny::model(tiny::config(flavour), at::kFloat);
    const at::Tensor tokens = probe(parent.config());
    SCOPED_TRACE(tiny::name_of(flavour));
    DeepenOptions options{.preset = DeepenPreset::kInterpose,
                          .add_layers = 2,
                          .weights = LayerSource::kRandom};
    const Transformer same =
        grown(parent, Deepen(options).recipe(parent.config(), 3));
    EXPECT_TRUE(at::equal(parent.logits(tokens), same.logits(tokens)));
    options.outputs = DeepenOutputs::kKeep;
    const Transformer other =
        grown(parent, Deepen(options).recipe(parent.config(), 3));
    EXPECT_GE(logit_error(parent, other), 1e-3);
  }
}

TEST(DeepenFunction, NewOutputsLearnFromTheFirstStep) {
  for (const LayerSource weights : {LayerSource::kCopy, LayerSource::kRandom}) {
    const Transformer parent = tiny::model(tiny::config(), at::kDouble);
    Transformer child = grown(
        parent,
        Deepen(DeepenOptions{.weights = weights}).recipe(parent.config(), 3));
    const auto gradients = tiny::gradients(child, probe(parent.config()),
                                           probe(parent.config(), 8));
    for (Part part : {Part::kO, Part::kDown}) {
      const int64_t row = find_row(child.table(), part, 5);
      EXPECT_GT(gradients[row].abs().max().item<double>(), 0);
    }
  }
}

// What a new model of the child's shape would have, from the stream of the
// tensor's name; the parent's own layers are theirs.
TEST(RandomLayers, AreThoseOfANewModel) {
  for (const tiny::Flavour& flavour : tiny::all_flavours()) {
    const ModelConfig config = tiny::config(flavour);
    const Transformer parent = tiny::model(config, at::kFloat);
    const Recipe recipe = Deepen({.preset = DeepenPreset::kInterpose,
                                  .add_layers = 1,
                                  .weights = LayerSource::kRandom,
                                  .outputs = DeepenOutputs::kKeep})
                              .recipe(config, 3);
    const Transformer child = grown(parent, recipe);
    for (size_t row = 0; row < child.table().size(); ++row) {
      const TensorSpec& spec = child.table()[row];
      SCOPED_TRACE(spec.name);
      const at::Tensor found = child.weight(row);
      if (spec.layer < 0 || recipe.layer_is_mapped[spec.layer]) {
        EXPECT_TRUE(
            at::equal(found, parent.weight(recipe.tensors[row].parent)));
        continue;
      }
      at::Tensor expected = at::zeros(spec.shape(), at::kFloat);
      if (spec.is_matrix()) {
        kernels::fill_normal(expected, CounterRng(3, "grow/fresh/" + spec.name),
                             config.initializer_range);
      } else if (!is_bias(spec.part)) {
        expected.fill_(1);
      }
      EXPECT_TRUE(at::equal(found, expected));
    }
  }
}

TEST(RandomLayers, FollowFromTheSeed) {
  const Transformer parent = tiny::model(tiny::config(), at::kFloat);
  const Deepen deepen({.weights = LayerSource::kRandom});
  const auto q = [&](uint64_t seed) {
    const Transformer child =
        grown(parent, deepen.recipe(parent.config(), seed));
    return child.weight(find_row(child.table(), Part::kQ, 4));
  };
  EXPECT_TRUE(at::equal(q(1), q(1)));
  EXPECT_FALSE(at::equal(q(1), q(2)));
}

TEST(UntieFunction, IsKeptBitForBit) {
  for (const tiny::Flavour& flavour : tiny::all_flavours()) {
    if (!flavour.tied) continue;
    SCOPED_TRACE(tiny::name_of(flavour));
    for (const at::ScalarType dtype : {at::kFloat, at::kDouble}) {
      const Transformer parent = tiny::model(tiny::config(flavour), dtype);
      const Transformer child =
          grown(parent, Untie({}).recipe(parent.config(), 3));
      const at::Tensor tokens = probe(parent.config());
      EXPECT_TRUE(at::equal(parent.logits(tokens), child.logits(tokens)));
      const at::Tensor head =
          child.weight(find_row(child.table(), Part::kHead));
      EXPECT_NE(head.const_data_ptr(), child.weight(0).const_data_ptr());
    }
  }
}

// The tied table's gradient is the sum of the two; every other is the same.
TEST(UntieFunction, PartsTheGradientOfTheTable) {
  Transformer parent =
      tiny::model(tiny::config({.logit_multiplier = 0.5}), at::kDouble);
  Transformer child = grown(parent, Untie({}).recipe(parent.config(), 3));
  const at::Tensor inputs = probe(parent.config());
  const at::Tensor targets = probe(parent.config(), 8);
  const auto of_parent = tiny::gradients(parent, inputs, targets);
  auto of_child = tiny::gradients(child, inputs, targets);
  EXPECT_GT(of_child.back().abs().max().item<double>(), 0);
  of_child.front() = of_child.front() + of_child.back();
  of_child.pop_back();
  ASSERT_EQ(of_child.size(), of_parent.size());
  for (size_t row = 0; row < of_parent.size(); ++row) {
    EXPECT_LE(tiny::relative_error(of_parent[row], of_child[row]), 1e-13);
  }
}

TEST(UntieFunction, AnUntiedParentIsRefusedInOneLine) {
  try {
    Untie({}).recipe(tiny::config({.tied = false}), 3);
    FAIL() << "untied twice";
  } catch (const UserError& error) {
    EXPECT_STREQ(error.what(),
                 "growing: untie: found a parent whose head has a table of its "
                 "own already, expected one with tie_word_embeddings");
  }
}

TEST(UntieState, IsTheTablesOrNone) {
  const ModelConfig config = tiny::config();
  std::vector<TensorState> states;
  for (const TensorSpec& spec : tensor_table(config)) {
    states.push_back({.m = at::full(spec.shape(), 0.5, at::kFloat),
                      .v = at::full(spec.shape(), 0.25, at::kFloat),
                      .step = 7});
  }
  for (const OptimizerState head :
       {OptimizerState::kCarry, OptimizerState::kReset}) {
    std::vector<TensorState> given = states;
    const auto carried =
        grow_state(Untie({head}).recipe(config, 3), std::move(given),
                   {OptimizerState::kCarry, Dynamics::kExact});
    EXPECT_TRUE(at::equal(carried.front().m, states.front().m));
    EXPECT_EQ(carried.front().step, 7);
    EXPECT_EQ(carried.back().lr_multiplier, 1);
    if (head == OptimizerState::kCarry) {
      EXPECT_TRUE(at::equal(carried.back().m, states.front().m));
      EXPECT_TRUE(at::equal(carried.back().v, states.front().v));
      EXPECT_NE(carried.back().m.const_data_ptr(),
                carried.front().m.const_data_ptr());
      EXPECT_EQ(carried.back().step, 7);
    } else {
      EXPECT_FALSE(carried.back().m.defined());
      EXPECT_EQ(carried.back().step, 0);
    }
  }
}

TEST(Growth, ThreeStepsInARow) {
  const Transformer dense = tiny::model(tiny::config(), at::kDouble);
  Transformer model = tiny::clone(dense);
  const auto step = [&](const Operator& op) {
    const Recipe recipe = op.recipe(model.config(), 3);
    model = grow(std::move(model), recipe);
  };
  step(Upcycle({}));
  step(Widen({2, 10, WidenHead::kUntie}));
  step(Deepen(DeepenOptions{}));
  EXPECT_LE(logit_error(dense, model), limit(at::kDouble, true));
}

TEST(Growth, ConsumesTheParentAndSharesNothing) {
  Transformer parent = tiny::model(tiny::config(), at::kFloat);
  std::set<const void*> storages;
  for (size_t row = 0; row < parent.table().size(); ++row) {
    storages.insert(parent.weight(row).const_data_ptr());
  }
  const Recipe recipe = Deepen(DeepenOptions{}).recipe(parent.config(), 3);
  const Transformer child = grow(std::move(parent), recipe);
  size_t moved = 0;
  std::set<const void*> distinct;
  for (size_t row = 0; row < child.table().size(); ++row) {
    const void* data = child.weight(row).const_data_ptr();
    moved += storages.count(data);
    EXPECT_TRUE(distinct.insert(data).second) << child.table()[row].name;
  }
  EXPECT_EQ(moved, storages.size());
  for (size_t row = 0; row < storages.size(); ++row) {
    // That nothing is left is promised: NOLINTNEXTLINE(bugprone-use-after-move)
    EXPECT_FALSE(parent.weight(row).defined());
  }
}

}  // namespace
}  // namespace annuli::grow
