#include "annuli/grow/recipe.h"
#include "annuli/core/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "annuli/config/grown_shape.h"
#include "annuli/core/error.h"
#include "annuli/grow/arguments.h"
#include "annuli/grow/deepen.h"
#include "annuli/grow/expand_experts.h"
#include "annuli/grow/registry.h"
#include "annuli/grow/transforms/fresh.h"
#include "annuli/grow/transforms/noise.h"
#include "annuli/grow/transforms/random_router.h"
#include "annuli/grow/upcycle.h"
#include "annuli/grow/widen.h"
#include "tests/support/tiny_model.h"

namespace annuli::grow {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

const TensorRecipe& find(const Recipe& recipe, Part part, int64_t layer = -1,
                         int64_t expert = -1) {
  const int64_t row = find_row(tensor_table(recipe.child), part, layer, expert);
  return recipe.tensors.at(row);
}

void expect_class(const TensorRecipe& tensor, double scale, double gradient) {
  SCOPED_TRACE(tensor.child);
  EXPECT_DOUBLE_EQ(tensor.scale, scale);
  EXPECT_DOUBLE_EQ(tensor.gradient_scale, gradient);
  EXPECT_DOUBLE_EQ(tensor.lr_multiplier, scale);
  EXPECT_DOUBLE_EQ(tensor.eps_multiplier, gradient);
  EXPECT_DOUBLE_EQ(tensor.weight_decay_multiplier, 1 / scale);
}

using Copies = std::pair<int64_t, int64_t>;
Copies matrix_copies(const TensorRecipe& tensor) {
  return {tensor.row_copies, tensor.column_copies};
}

// Of a matrix in itself; experts beside each other are matrices of their own.
TEST(Recipe, MatricesKnowTheirCopies) {
  const ModelConfig config = tiny::config({.mixture = true, .gated = true});
  const Recipe wide = Widen({.factor = std::nullopt,
                             .noise_snr_db = {},
                             .head = WidenHead::kFold,
                             .hidden = 2 * config.hidden_size,
                             .ffn = 3 * config.intermediate_size})
                          .recipe(config, 1);
  EXPECT_EQ(matrix_copies(find(wide, Part::kQ, 0)), Copies(1, 2));
  EXPECT_EQ(matrix_copies(find(wide, Part::kO, 0)), Copies(2, 1));
  EXPECT_EQ(matrix_copies(find(wide, Part::kUp, 1, 2)), Copies(3, 2));
  EXPECT_EQ(matrix_copies(find(wide, Part::kDown, 1, 2)), Copies(2, 3));
  EXPECT_EQ(matrix_copies(find(wide, Part::kInputNorm, 0)), Copies(1, 1));
  const Recipe more = ExpandExperts({.factor = 2}).recipe(config, 1);
  EXPECT_EQ(matrix_copies(find(more, Part::kUp, 1, 5)), Copies(1, 1));
  EXPECT_EQ(find(more, Part::kUp, 1, 5).produced_copies, 2);
}

TEST(Recipe, WideningFollowsTheClassesOfCopies) {
  tiny::Flavour flavour{.mixture = true, .gated = true, .qk_norm = true};
  const Recipe recipe =
      Widen({.factor = 3, .noise_snr_db = {}, .head = WidenHead::kUntie})
          .recipe(tiny::config(flavour), 1);
  for (Part part : {Part::kQ, Part::kK, Part::kV, Part::kO}) {
    expect_class(find(recipe, part, 0), 1.0 / 3, 1.0 / 3);
  }
  for (Part part : {Part::kGate, Part::kUp, Part::kDown}) {
    expect_class(find(recipe, part, 2, 3), 1.0 / 3, 1.0 / 3);
  }
  expect_class(find(recipe, Part::kRouter, 1), 1.0 / 3, 1);
  expect_class(find(recipe, Part::kHead), 1.0 / 3, 1);
  expect_class(find(recipe, Part::kEmbedding), 1, 1.0 / 3);
  expect_class(find(recipe, Part::kInputNorm, 0), 1, 1.0 / 3);
  expect_class(find(recipe, Part::kFinalNorm), 1, 1.0 / 3);
  expect_class(find(recipe, Part::kQNorm, 0), 1, 1);
  EXPECT_FALSE(find(recipe, Part::kHead).carry_state);
  EXPECT_FALSE(find(recipe, Part::kEmbedding).carry_state);
  EXPECT_TRUE(find(recipe, Part::kFinalNorm).carry_state);
  EXPECT_EQ(find(recipe, Part::kHead).parent, "model.embed_tokens.weight");
}

TEST(Recipe, FoldingDividesTheFinalGainAndKeepsItsGradient) {
  const Recipe recipe =
      Widen({.factor = 2, .head = WidenHead::kFold}).recipe(tiny::config(), 1);
  EXPECT_TRUE(recipe.child.tie_word_embeddings);
  expect_class(find(recipe, Part::kFinalNorm), 0.5, 1);
  expect_class(find(recipe, Part::kEmbedding), 1, 0.5);
  EXPECT_TRUE(find(recipe, Part::kEmbedding).carry_state);
}

TEST(Recipe, NoiseIsOnHiddenMatricesOnly) {
  tiny::Flavour flavour{.mixture = true, .gated = true, .qk_norm = true};
  const Recipe recipe =
      Widen({.factor = 2, .noise_snr_db = 10}).recipe(tiny::config(flavour), 1);
  const TensorTable table = tensor_table(recipe.child);
  for (size_t row = 0; row < table.size(); ++row) {
    const bool hidden = table[row].layer >= 0 && table[row].is_matrix() &&
                        table[row].part != Part::kRouter;
    EXPECT_EQ(recipe.tensors[row].find<Noise>() != nullptr, hidden)
        << table[row].name;
  }
}

TEST(Recipe, UpcyclingCopiesTheFeedForwardAndMakesRouters) {
  const ModelConfig parent = tiny::config();
  const Recipe recipe =
      Upcycle({.num_experts = 8, .router_std = 0.05}).recipe(parent, 1);
  EXPECT_EQ(recipe.child.num_experts, 8);
  const TensorRecipe& expert = find(recipe, Part::kUp, 1, 5);
  EXPECT_EQ(expert.parent, "model.layers.1.mlp.up_proj.weight");
  EXPECT_TRUE(expert.is_identity());
  EXPECT_FALSE(expert.carry_state);
  const TensorRecipe& router = find(recipe, Part::kRouter, 1);
  EXPECT_EQ(router.source, Source::kRandomRouter);
  EXPECT_EQ(router.find<RandomRouter>()->std, 0.05);
  EXPECT_THAT(router.shape, ElementsAre(8, parent.hidden_size));
  EXPECT_TRUE(find(recipe, Part::kQ, 1).carry_state);
  EXPECT_THAT(
      [&] { Upcycle({}).recipe(recipe.child, 1); },
      ThrowsMessage<UserError>(HasSubstr("found a parent with 8 experts")));
}

TEST(Recipe, DepthPresets) {
  const auto map = [](DeepenPreset preset, int64_t L, int64_t added) {
    return layer_map({.preset = preset, .add_layers = added, .layer_map = {}},
                     L, complain_of_growth);
  };
  EXPECT_THAT(map(DeepenPreset::kCopyLast, 3, 2), ElementsAre(0, 1, 2, 2, 2));
  EXPECT_THAT(map(DeepenPreset::kStack, 3, 3), ElementsAre(0, 1, 2, 0, 1, 2));
  EXPECT_THAT(map(DeepenPreset::kStack, 3, 2), ElementsAre(0, 1, 2, 1, 2));
  EXPECT_THAT(map(DeepenPreset::kInterpose, 3, 3),
              ElementsAre(0, 0, 1, 1, 2, 2));
  EXPECT_THAT(map(DeepenPreset::kInterpose, 6, 2),
              ElementsAre(0, 1, 2, 2, 3, 4, 5, 5));
  EXPECT_EQ(map(DeepenPreset::kZeroOutput, 6, 2),
            map(DeepenPreset::kInterpose, 6, 2));
  EXPECT_THAT(map(DeepenPreset::kMiddle, 4, 2), ElementsAre(0, 1, 2, 1, 2, 3));
  EXPECT_THAT(map(DeepenPreset::kMiddle, 3, 3), ElementsAre(0, 1, 2, 0, 1, 2));
  EXPECT_THAT([&] { map(DeepenPreset::kMiddle, 3, 4); },
              ThrowsMessage<UserError>(HasSubstr("at most the parent's 3")));
  EXPECT_THAT(
      [&] { map(DeepenPreset::kStack, 3, 4); },
      ThrowsMessage<UserError>(HasSubstr("multiple of the parent's 3")));
}

TEST(Recipe, NewLayersAreTheLaterOnesAndZeroTheirOutputs) {
  const tiny::Flavour flavour{.mixture = true};
  const DeepenOptions options{.layer_map = {0, 1, 0, 2, 2}};
  const Recipe recipe = Deepen(options).recipe(tiny::config(flavour), 1);
  EXPECT_THAT(recipe.layer_is_mapped,
              ElementsAre(true, true, false, true, false));
  EXPECT_TRUE(recipe.exact);
  for (const TensorRecipe& tensor : recipe.tensors) {
    if (tensor.layer != 2 && tensor.layer != 4) {
      EXPECT_TRUE(tensor.carry_state && tensor.is_identity()) << tensor.child;
    } else {
      EXPECT_FALSE(tensor.carry_state) << tensor.child;
    }
  }
  EXPECT_EQ(find(recipe, Part::kO, 2).source, Source::kZero);
  EXPECT_EQ(find(recipe, Part::kDown, 4, 3).source, Source::kZero);
  EXPECT_EQ(find(recipe, Part::kO, 3).source, Source::kParent);
  EXPECT_EQ(find(recipe, Part::kUp, 2, 0).source, Source::kParent);
}

// A random layer reads nothing of the parent, and has the multipliers of the
// layer that it stands in place of a copy of.
TEST(Recipe, RandomLayersAreFreshOrZero) {
  const tiny::Flavour flavour{.gated = true, .qkv_bias = true};
  const DeepenOptions options{.weights = LayerSource::kRandom,
                              .layer_map = {0, 1, 0, 2}};
  const Recipe recipe = Deepen(options).recipe(tiny::config(flavour), 1);
  EXPECT_TRUE(recipe.exact);
  const TensorRecipe& q = find(recipe, Part::kQ, 2);
  EXPECT_EQ(q.source, Source::kFresh);
  EXPECT_EQ(q.parent, "");
  EXPECT_FALSE(q.carry_state);
  EXPECT_EQ(q.settings_from, "model.layers.0.self_attn.q_proj.weight");
  EXPECT_EQ(q.find<Fresh>()->std, tiny::config(flavour).initializer_range);
  EXPECT_EQ(find(recipe, Part::kInputNorm, 2).find<Fresh>()->values,
            FirstValues::kOne);
  EXPECT_EQ(find(recipe, Part::kQBias, 2).source, Source::kZero);
  EXPECT_EQ(find(recipe, Part::kO, 2).source, Source::kZero);
  EXPECT_TRUE(find(recipe, Part::kQ, 3).is_identity());
  EXPECT_EQ(recipe.arguments.at("weights"), "random");
  Json json = to_json(recipe);
  EXPECT_EQ(to_json(recipe_from_json(json)), json);
  for (Json& line : json["tensors"]) line.erase("fresh");
  EXPECT_THAT([&] { recipe_from_json(json); },
              ThrowsMessage<UserError>(HasSubstr("expected 'fresh' to say")));
}

// A lineage of copied layers reads as it did before layers could be random.
TEST(Recipe, OptionsThatAreNewAreStatedWhereTheyAreSet) {
  const Recipe recipe = Deepen(DeepenOptions{}).recipe(tiny::config(), 1);
  EXPECT_EQ(recipe.arguments.dump(),
            R"({"add_layers":3,"layer_map":[],"outputs":"zero",)"
            R"("preset":"copy-last"})");
}

TEST(Recipe, KeptOutputsAreNotExactAndHaveABudget) {
  const Recipe recipe =
      Deepen(
          {.add_layers = 1, .outputs = DeepenOutputs::kKeep, .layer_map = {}})
          .recipe(tiny::config(), 1);
  EXPECT_FALSE(recipe.exact);
  EXPECT_GT(recipe.loss_budget, 0);
}

TEST(Recipe, LayerMapsThatLoseALayerAreRefused) {
  const auto with = [](std::vector<int64_t> map) {
    return layer_map({.layer_map = std::move(map)}, 3, complain_of_growth);
  };
  EXPECT_THAT(
      [&] {
        with({0, 2, 1});
      },
      ThrowsMessage<UserError>(HasSubstr("found layer 2 before any 1")));
  EXPECT_THAT(
      [&] {
        with({0, 1, 1});
      },
      ThrowsMessage<UserError>(HasSubstr("found no layer 2")));
  EXPECT_THAT(
      [&] {
        with({0, 1, 2, 3});
      },
      ThrowsMessage<UserError>(HasSubstr("found layer 3, expected 0 to 2")));
}

TEST(Recipe, SurvivesJson) {
  const Recipe recipe = Widen({.factor = 2, .noise_snr_db = 7.5})
                            .recipe(tiny::config({.mixture = true}), 99);
  const Json json = to_json(recipe);
  const Recipe back = recipe_from_json(Json::parse(json.dump()));
  EXPECT_EQ(to_json(back), json);
  EXPECT_EQ(back.tensors.size(), recipe.tensors.size());
  Json broken = json;
  broken["tensors"][0].erase("scale");
  EXPECT_THROW(recipe_from_json(broken), UserError);
}

TEST(Registry, MakesWhatThePlanNames) {
  GrowPlan plan;
  plan.widen = WidenPlan{};
  EXPECT_EQ(make_operator(plan)->name(), "widen");
  EXPECT_THAT([] { find_operator("widden"); },
              ThrowsMessage<UserError>(HasSubstr("widen")));
}

}  // namespace
}  // namespace annuli::grow
