#include "annuli/verify/infer_recipe.h"

#include <gtest/gtest.h>

#include <utility>

#include "annuli/core/error.h"
#include "annuli/grow/chain.h"
#include "annuli/grow/deepen.h"
#include "annuli/grow/upcycle.h"
#include "annuli/grow/widen.h"
#include "annuli/verify/verify_growth.h"
#include "tests/support/grown_pair.h"

namespace annuli::verify {
namespace {

grow::Recipe inferred(const tiny::GrownPair& pair) {
  return infer_recipe(pair.parent.config(), pair.record.sketches, pair.child);
}

void expect_same_layout(const grow::Recipe& a, const grow::Recipe& b) {
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (size_t row = 0; row < a.tensors.size(); ++row) {
    SCOPED_TRACE(a.tensors[row].child);
    EXPECT_EQ(a.tensors[row].child, b.tensors[row].child);
    EXPECT_EQ(a.tensors[row].parent, b.tensors[row].parent);
    EXPECT_EQ(a.tensors[row].source, b.tensors[row].source);
    EXPECT_EQ(a.tensors[row].scale, b.tensors[row].scale);
    ASSERT_EQ(a.tensors[row].dimensions.size(),
              b.tensors[row].dimensions.size());
    for (size_t i = 0; i < a.tensors[row].dimensions.size(); ++i) {
      EXPECT_EQ(a.tensors[row].dimensions[i].slices,
                b.tensors[row].dimensions[i].slices);
    }
  }
}

// The recipe found is the one that made the child, but for its noise, and the
// child passes by it.
void expect_recognised(tiny::GrownPair pair) {
  const grow::Recipe recipe = inferred(pair);
  EXPECT_EQ(recipe.op, pair.recipe.op);
  EXPECT_EQ(recipe.child, pair.recipe.child);
  EXPECT_EQ(recipe.exact, pair.recipe.exact);
  EXPECT_EQ(recipe.width_factor, pair.recipe.width_factor);
  EXPECT_EQ(recipe.layer_map, pair.recipe.layer_map);
  EXPECT_EQ(recipe.layer_is_mapped, pair.recipe.layer_is_mapped);
  expect_same_layout(recipe, pair.recipe);
  pair.recipe = recipe;
  pair.control.reset();
  pair.recipe.loss_budget = 100;  // of growth that preserves nothing
  const auto verdicts = pair.verdicts();
  EXPECT_EQ(tiny::first_failure(verdicts), nullptr) << tiny::lines(verdicts);
}

class InferRecipe : public ::testing::TestWithParam<tiny::GrowthCase> {};

INSTANTIATE_TEST_SUITE_P(Growths, InferRecipe,
                         ::testing::ValuesIn(tiny::growth_cases()),
                         [](const auto& info) { return info.param.name; });

TEST_P(InferRecipe, RecognisesTheOperator) {
  tiny::GrownPair pair = tiny::grown_pair(GetParam().flavour, *GetParam().op);
  if (tiny::can_be_inferred(pair.recipe)) expect_recognised(std::move(pair));
}

TEST(InferLayerMap, OfEveryPreset) {
  for (const DeepenOutputs outputs :
       {DeepenOutputs::kZero, DeepenOutputs::kKeep}) {
    for (const DeepenPlan& plan :
         {DeepenPlan{.preset = DeepenPreset::kCopyLast, .add_layers = 2},
          DeepenPlan{.preset = DeepenPreset::kStack, .add_layers = 3},
          DeepenPlan{.preset = DeepenPreset::kInterpose, .add_layers = 2},
          DeepenPlan{.layer_map = {0, 0, 1, 0, 2, 1}}}) {
      DeepenPlan options = plan;
      options.outputs = outputs;
      expect_recognised(tiny::grown_pair({.mixture = true, .qk_norm = true},
                                         grow::Deepen(options)));
    }
  }
}

// Where random layers stand, with outputs of zero and with their own; also
// after the matrices were tiled.
TEST(InferLayerMap, OfRandomLayers) {
  for (const DeepenOutputs outputs :
       {DeepenOutputs::kZero, DeepenOutputs::kKeep}) {
    for (const DeepenPreset preset :
         {DeepenPreset::kCopyLast, DeepenPreset::kInterpose}) {
      const DeepenPlan plan{.preset = preset,
                            .add_layers = 2,
                            .weights = LayerSource::kRandom,
                            .outputs = outputs};
      expect_recognised(tiny::grown_pair(
          {.mixture = true, .gated = true, .tied = false}, grow::Deepen(plan)));
      expect_recognised(tiny::grown_pair(
          {.gated = true, .tied = false},
          grow::Chain({{.widen = WidenPlan{.factor = 2}}, {.deepen = plan}})));
    }
  }
}

// A layer of the parent's that was damaged is not taken for a random one.
TEST(InferLayerMap, ADamagedLayerIsNamed) {
  auto pair =
      tiny::grown_pair({.gated = true}, grow::Deepen({.add_layers = 1}));
  pair.weight(Part::kQ, 1).mul_(-3);
  pair.weight(Part::kK, 1).mul_(-3);
  pair.recipe = inferred(pair);
  EXPECT_FALSE(pair.recipe.arguments.contains("weights"));
  const auto verdicts = pair.verdicts();
  const Verdict* failure = tiny::first_failure(verdicts);
  ASSERT_NE(failure, nullptr);
  EXPECT_EQ(failure->layer, 1);
}

// A router's deviation is not known from outside, and zero is one of them.
TEST(InferRouter, OfAnyDeviation) {
  expect_recognised(tiny::grown_pair(
      {}, grow::Upcycle(UpcyclePlan{.num_experts = 4, .router_std = 0.3})));
  expect_recognised(tiny::grown_pair(
      {}, grow::Upcycle(
              UpcyclePlan{.num_experts = 4, .router = RouterInit::kZero})));
}

// The parent is the base model, the child anything that no operator makes.
class Nonsense : public ::testing::Test {
 protected:
  static ModelConfig base(bool mixture = false) {
    return tiny::config({.mixture = mixture, .gated = true, .tied = false});
  }
  void expect_refused(const ModelConfig& parent_config,
                      const ModelConfig& child_config) {
    const Transformer parent = tiny::model(parent_config, at::kFloat);
    const Transformer child = tiny::model(child_config, at::kFloat, 2);
    const auto record =
        ParentRecord::take(parent, tiny::probe(parent_config), false);
    try {
      infer_recipe(parent_config, record.sketches, child);
      ADD_FAILURE() << "recognised as grown";
    } catch (const UserError& error) {
      const std::string text = error.what();
      EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    }
  }
  template <typename Change>
  void expect_refused(const Change& change) {
    ModelConfig child = base();
    change(child);
    expect_refused(base(), child);
  }
};

TEST_F(Nonsense, SmallerIsNotGrown) {
  expect_refused([](ModelConfig& child) { child.hidden_size = 12; });
  expect_refused([](ModelConfig& child) { child.num_hidden_layers = 2; });
  expect_refused(base(true), base(false));
}

TEST_F(Nonsense, DeeperAndOfAnotherShape) {
  expect_refused([](ModelConfig& child) {
    child.num_hidden_layers = 5;
    child.hidden_size = 12;
  });
  expect_refused([](ModelConfig& child) {
    child.num_hidden_layers = 5;
    child.num_attention_heads = 2;
    child.num_key_value_heads = 2;
  });
  expect_refused([](ModelConfig& child) {
    child.num_hidden_layers = 5;
    child.head_dim = 12;
  });
}

TEST_F(Nonsense, TwoGrowthsAtOnce) {
  expect_refused([](ModelConfig& child) {
    child.num_experts = 4;
    child.num_experts_per_tok = 2;
    child.num_hidden_layers = 5;
  });
}

// Settings that differ do not hide the growth: they are refuted beside it.
TEST(InferRecipe, IgnoresSettings) {
  auto pair = tiny::grown_pair({}, grow::Deepen(DeepenPlan{.add_layers = 2}));
  ModelConfig config = pair.child.config();
  config.rope_theta = 500;
  pair.child = tiny::with_config(pair.child, config);
  EXPECT_EQ(inferred(pair).op, "deepen");
  const auto verdicts = pair.verdicts();
  const Verdict* failure = tiny::first_failure(verdicts);
  ASSERT_NE(failure, nullptr);
  EXPECT_EQ(failure->check, "config_audit");
  EXPECT_NE(failure->note.find("rope_theta is 500.0, expected 10000.0"),
            std::string::npos)
      << failure->note;
}

// Shapes that a growth could have made, with weights that none did: whatever is
// inferred, by chance or not, is refused.
struct OtherWeights {
  const char* name;
  void (*change)(ModelConfig& child);
};

class WeightsOfItsOwn : public ::testing::TestWithParam<OtherWeights> {};

INSTANTIATE_TEST_SUITE_P(
    Shapes, WeightsOfItsOwn,
    ::testing::Values(
        OtherWeights{"same_shape", [](ModelConfig&) {}},
        OtherWeights{"deeper", [](ModelConfig& c) { c.num_hidden_layers = 5; }},
        OtherWeights{"twice_as_wide",
                     [](ModelConfig& c) {
                       c.hidden_size *= 2;
                       c.intermediate_size *= 2;
                       c.num_attention_heads *= 2;
                       c.num_key_value_heads *= 2;
                     }},
        OtherWeights{"half_as_wide_again",
                     [](ModelConfig& c) { c.hidden_size = 36; }},
        OtherWeights{"one_axis",
                     [](ModelConfig& c) { c.intermediate_size *= 2; }},
        OtherWeights{"experts",
                     [](ModelConfig& c) {
                       c.num_experts = 4;
                       c.num_experts_per_tok = 2;
                     }}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_P(WeightsOfItsOwn, AreRefused) {
  const ModelConfig base = tiny::config({.gated = true, .tied = false});
  ModelConfig other = base;
  GetParam().change(other);
  const Transformer parent = tiny::model(base, at::kFloat);
  Transformer child = tiny::model(other, at::kFloat, 2);
  const Probe probe = tiny::probe(base);
  const auto record = ParentRecord::take(parent, probe, false);
  EXPECT_THROW(
      {
        const auto recipe = infer_recipe(base, record.sketches, child);
        require(verify_growth(
            {.parent = record, .recipe = recipe, .probe = probe}, child));
      },
      std::runtime_error);
}

}  // namespace
}  // namespace annuli::verify
