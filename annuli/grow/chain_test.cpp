// A chain is its steps one after the other, byte for byte.
#include "annuli/grow/chain.h"
#include "annuli/core/json.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "annuli/core/error.h"
#include "annuli/grow/apply.h"
#include "annuli/grow/arguments.h"
#include "annuli/grow/axis_rule.h"
#include "annuli/grow/compose.h"
#include "annuli/grow/optimizer_state.h"
#include "annuli/grow/registry.h"
#include "tests/support/bare_training.h"
#include "tests/support/growth_checks.h"

namespace annuli::grow {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

struct ChainCase {
  const char* name;
  const char* steps;  // as in a chain's file
  tiny::Flavour flavour;
};

std::vector<ChainCase> chain_cases() {
  const tiny::Flavour dense{.gated = true, .qk_norm = true};
  const tiny::Flavour mixture{
      .mixture = true, .gated = true, .tied = false, .num_key_value_heads = 2};
  return {
      {"seed",
       "[upcycle: {num_experts: 4}, widen: {factor: 2}, "
       "deepen: {preset: copy-last, add_layers: 2}]",
       dense},
      {"by_three",
       "[widen: {factor: 3, head: fold}, upcycle: {num_experts: 3}, "
       "deepen: {preset: stack, add_layers: 2}]",
       dense},
      {"fractions",
       "[deepen: {preset: interpose, add_layers: 1}, widen: {factor: 1.5}, "
       "widen: {hidden: 50}, expand_experts: {factor: 2}]",
       mixture},
      {"shards",
       "[upcycle: {num_experts: 2, granularity: 4, num_experts_per_tok: 4}, "
       "widen: {factor: 2}, expand_experts: {}]",
       dense},
      {"closed_copies",
       "[expand_experts: {num_experts_per_tok: 2, selection_bias: true}, "
       "widen: {factor: 2}, expand_experts: {factor: 3}]",
       mixture},
      {"closed_twice",
       "[upcycle: {num_experts: 4, selection_bias: true}, expand_experts: "
       "{num_experts_per_tok: 2, selection_bias: true}, deepen: {add_layers: "
       "1}, expand_experts: {num_experts_per_tok: 2, selection_bias: true}]",
       dense},
      {"shared",
       "[upcycle: {num_experts: 4, shared_expert: true}, widen: {factor: 2}]",
       dense},
      {"widen_twice",
       "[widen: {factor: 2}, widen: {hidden: 144, heads: 24, ffn: 100}]",
       mixture},
      {"drop", "[upcycle: {num_experts: 4, drop_ratio: 0.5}, widen: {}]",
       dense},
      {"perturbed_first",
       "[perturb: {relative_std: 0.1, tensors: [attention, feed-forward, "
       "embedding]}, widen: {factor: 2}]",
       dense},
      {"perturbed_and_cut",
       "[perturb: {relative_std: 0.1}, upcycle: {num_experts: 2, "
       "granularity: 2}]",
       dense},
      {"perturbed_copies",
       "[upcycle: {num_experts: 4}, deepen: {add_layers: 1}, "
       "perturb: {relative_std: 0.1}, widen: {factor: 1.5}]",
       dense},
      {"random_layers_widened",
       "[deepen: {add_layers: 1, weights: random, outputs: keep}, "
       "widen: {factor: 1.5}, deepen: {add_layers: 1}]",
       mixture},
      {"random_layers_cut",
       "[deepen: {add_layers: 1, weights: random, outputs: keep}, "
       "upcycle: {num_experts: 2, granularity: 2}, "
       "deepen: {preset: interpose, add_layers: 2, weights: random}]",
       dense},
      {"untied_and_divided",
       "[untie: {}, widen: {factor: 2}, deepen: {add_layers: 1}]", dense},
      {"untied_anew", "[untie: {head_state: reset}, widen: {factor: 3}]",
       dense},
      {"shrunk",
       "[deepen: {add_layers: 1}, shrink_perturb: {shrink: 0.5}, "
       "widen: {factor: 2}]",
       dense},
      {"shrunk_copies",
       "[widen: {factor: 2, noise_snr_db: null, head: fold}, "
       "shrink_perturb: {shrink: 0.5}, deepen: {add_layers: 1}]",
       dense},
      {"layers_of_layers",
       "[deepen: {add_layers: 1}, deepen: {preset: stack, add_layers: 2}, "
       "widen: {ffn: 80}]",
       mixture},
  };
}

// The list reads "- a\n- b": each {operator: options}.
GrowPlan chain_of(const ChainCase& chain) {
  return read_chain(chain.steps, "test");
}

GrowPlan single(const GrowthStep& step) {
  GrowPlan plan;
  static_cast<GrowthStep&>(plan) = step;
  return plan;
}

class Chains : public ::testing::TestWithParam<ChainCase> {
 protected:
  ModelConfig config() const { return tiny::config(GetParam().flavour); }
  Recipe chain() const {
    return make_operator(chain_of(GetParam()))->recipe(config(), 3);
  }
};

INSTANTIATE_TEST_SUITE_P(All, Chains, ::testing::ValuesIn(chain_cases()),
                         [](const auto& info) {
                           return std::string(info.param.name);
                         });

TEST_P(Chains, GiveTheBytesOfTheirSteps) {
  for (at::ScalarType dtype : {at::kFloat, at::kDouble}) {
    const Transformer parent = tiny::model(config(), dtype);
    Transformer stepwise = tiny::clone(parent);
    for (const GrowthStep& step : chain_of(GetParam()).chain) {
      const Recipe recipe =
          make_operator(single(step))->recipe(stepwise.config(), 3);
      stepwise = grow(std::move(stepwise), recipe);
    }
    const Transformer at_once = tiny::grown(parent, chain());
    ASSERT_EQ(at_once.config(), stepwise.config());
    for (size_t row = 0; row < at_once.table().size(); ++row) {
      EXPECT_TRUE(at::equal(at_once.weight(row), stepwise.weight(row)))
          << at_once.table()[row].name;
    }
  }
}

// Storage types that a model is never held in, tensor by tensor.
TEST_P(Chains, GiveTheBytesOfTheirStepsInShortTypes) {
  const at::ScalarType dtype = at::kBFloat16;
  const Transformer parent = tiny::model(config(), at::kFloat);
  std::map<std::string, at::Tensor> stepwise;
  for (size_t row = 0; row < parent.table().size(); ++row) {
    stepwise[parent.table()[row].name] = parent.weight(row).to(dtype);
  }
  const auto originals = stepwise;
  ModelConfig at = config();
  for (const GrowthStep& step : chain_of(GetParam()).chain) {
    const Recipe recipe = make_operator(single(step))->recipe(at, 3);
    std::map<std::string, at::Tensor> next;
    for (const TensorRecipe& t : recipe.tensors) {
      next[t.child] = t.source == Source::kParent
                          ? apply(t, stepwise.at(t.parent), recipe.seed, dtype)
                          : apply(t, {}, recipe.seed, dtype);
    }
    stepwise = std::move(next);
    at = recipe.child;
  }
  for (const TensorRecipe& t : chain().tensors) {
    const at::Tensor made = t.source == Source::kParent
                                ? apply(t, originals.at(t.parent), 3, dtype)
                                : apply(t, {}, 3, dtype);
    EXPECT_TRUE(at::equal(made, stepwise.at(t.child))) << t.child;
  }
}

bool same_part(const at::Tensor& a, const at::Tensor& b) {
  return a.defined() ? at::equal(a, b) : !b.defined();
}

TEST_P(Chains, CarryTheStateOfTheirSteps) {
  tiny::Trainee parent = tiny::trainee(tiny::model(config(), at::kFloat));
  tiny::train(parent, 0, 3, {});
  const StateGrowth growth{OptimizerState::kCarry, Dynamics::kExact};
  auto stepwise = tiny::copy(parent).states;
  ModelConfig at = config();
  for (const GrowthStep& step : chain_of(GetParam()).chain) {
    const Recipe recipe = make_operator(single(step))->recipe(at, 3);
    stepwise = grow_state(recipe, std::move(stepwise), growth);
    at = recipe.child;
  }
  const Recipe recipe = chain();
  const auto at_once = grow_state(recipe, tiny::copy(parent).states, growth);
  ASSERT_EQ(at_once.size(), stepwise.size());
  for (size_t row = 0; row < at_once.size(); ++row) {
    SCOPED_TRACE(recipe.tensors[row].child);
    EXPECT_TRUE(same_part(at_once[row].m, stepwise[row].m));
    EXPECT_TRUE(same_part(at_once[row].v, stepwise[row].v));
    EXPECT_EQ(at_once[row].step, stepwise[row].step);
    EXPECT_DOUBLE_EQ(at_once[row].lr_multiplier, stepwise[row].lr_multiplier);
    EXPECT_DOUBLE_EQ(at_once[row].eps_multiplier, stepwise[row].eps_multiplier);
    EXPECT_DOUBLE_EQ(at_once[row].weight_decay_multiplier,
                     stepwise[row].weight_decay_multiplier);
    EXPECT_EQ(at_once[row].row_copies, stepwise[row].row_copies);
    EXPECT_EQ(at_once[row].column_copies, stepwise[row].column_copies);
  }
}

TEST_P(Chains, AreOneGrowthToVerify) {
  const Recipe recipe = chain();
  EXPECT_EQ(recipe.op, "chain");
  const Transformer parent = tiny::model(config(), at::kDouble);
  const double error = tiny::logit_error(parent, tiny::grown(parent, recipe));
  if (recipe.exact) {
    EXPECT_LE(error, 1e-12);
  } else {
    EXPECT_GE(error, 1e-3);
    EXPECT_GT(recipe.loss_budget, 0);
  }
  const Recipe again =
      recipe_of(recipe.op, recipe.arguments, config(), 3, "test");
  EXPECT_EQ(to_json(again), to_json(recipe));
  EXPECT_EQ(to_json(recipe_from_json(to_json(recipe))), to_json(recipe));
}

TEST(Chains, StateWhatTheyComeTo) {
  const Recipe recipe = make_operator(chain_of(chain_cases()[0]))
                            ->recipe(tiny::config(chain_cases()[0].flavour), 3);
  EXPECT_EQ(recipe.width_factor, 2);
  EXPECT_THAT(recipe.layer_map, ElementsAre(0, 1, 2, 2, 2));
  EXPECT_THAT(recipe.layer_is_mapped,
              ElementsAre(true, true, true, false, false));
  EXPECT_EQ(recipe.experts.size(), 4u);
  EXPECT_TRUE(recipe.has_noise());
  const TensorTable table = tensor_table(recipe.child);
  const TensorRecipe& up = recipe.tensors.at(find_row(table, Part::kUp, 1, 3));
  EXPECT_EQ(up.parent, "model.layers.1.mlp.up_proj.weight");
  EXPECT_EQ(up.scale, 0.5);
  EXPECT_EQ(up.dimensions[0].slices, tile(40, 2));
  EXPECT_TRUE(up.steps.empty()) << "a copy, then one step";
  const TensorRecipe& router =
      recipe.tensors[find_row(table, Part::kRouter, 4)];
  EXPECT_EQ(router.source, Source::kRandomRouter);
  EXPECT_EQ(router.layer, 2);
  EXPECT_EQ(router.steps.size(), 2u);
}

TEST(Chains, RefuseWhatIsNeverMade) {
  const auto refuse = [](const char* steps) {
    make_operator(read_chain(steps, "c.yaml"))->recipe(tiny::config(), 3);
  };
  EXPECT_THAT(
      [&] { refuse("[deepen: {}, upcycle: {router: mean-orthogonal}]"); },
      ThrowsMessage<UserError>(HasSubstr("never made")));
  EXPECT_THAT([&] { refuse("[deepen: {}, upcycle: {router: centroids}]"); },
              ThrowsMessage<UserError>(
                  HasSubstr("a centroids router needs the activations")));
  EXPECT_THAT([&] { refuse("widen: {}"); },
              ThrowsMessage<UserError>(HasSubstr("expected a list")));
  EXPECT_THAT([&] { refuse("- widen: {}\n  deepen: {}"); },
              ThrowsMessage<UserError>(HasSubstr("c.yaml:1: found 2")));
  EXPECT_THAT([&] { refuse("- widen: {fcator: 2}"); },
              ThrowsMessage<UserError>(HasSubstr("did you mean 'factor'")));
}

TEST(Slices, OfSlices) {
  const std::vector<Slice> first = {{0, 4}, {kNew, 2}, {0, 4}};
  EXPECT_THAT(compose(first, {{2, 6}}),
              ElementsAre(Slice{2, 2}, Slice{kNew, 2}, Slice{0, 2}));
  EXPECT_THAT(compose(first, {{kNew, 3}, {9, 1}}),
              ElementsAre(Slice{kNew, 3}, Slice{3, 1}));
}

TEST(Arguments, SurviveJson) {
  GrowPlan plan;
  plan.widen =
      WidenPlan{.factor = 1.25, .noise_snr_db = std::nullopt, .hidden = 1000};
  const auto json = arguments_of(plan);
  EXPECT_EQ(plan_of("widen", Json::parse(json.dump())).widen, plan.widen);
  EXPECT_THAT(
      [&] {
        plan_of("widen", {{"factor", "two"}});
      },
      ThrowsMessage<UserError>(HasSubstr("widen.factor")));
}

}  // namespace
}  // namespace annuli::grow
