#include "annuli/verify/config_audit.h"

#include <gtest/gtest.h>

#include <functional>

#include "annuli/grow/deepen.h"
#include "annuli/grow/upcycle.h"
#include "annuli/grow/widen.h"
#include "tests/support/grown_pair.h"

namespace annuli::verify {
namespace {

grow::Recipe widened(const tiny::Flavour& flavour) {
  return grow::Widen(WidenPlan{}).recipe(tiny::config(flavour), 3);
}

TEST(ConfigAudit, WhatOperatorsMakeIsImplied) {
  for (const tiny::GrowthCase& growth : tiny::growth_cases()) {
    const grow::Recipe recipe =
        growth.op->recipe(tiny::config(growth.flavour), 3);
    const Verdict verdict = config_audit(recipe, recipe.child);
    EXPECT_TRUE(verdict.passed) << growth.name << ": " << verdict.note;
  }
}

struct Change {
  std::function<void(ModelConfig&)> make;
  const char* says;
};

// Each with both values, however small the change.
TEST(ConfigAudit, NamesEverySettingThatDiffers) {
  const grow::Recipe recipe = widened({.mixture = true, .gated = true});
  const std::vector<Change> changes = {
      {[](auto& c) { c.rms_norm_eps = 1.0000001e-5; },
       "rms_norm_eps is 1.0000001e-05, expected 1e-05"},
      {[](auto& c) { c.rope_theta = 9999; },
       "rope_theta is 9999.0, expected 10000.0"},
      {[](auto& c) {
         c.rope_scaling = {.type = RopeScaling::Type::kLinear, .factor = 2};
       },
       "rope_scaling is {\"factor\":2.0,\"rope_type\":\"linear\"}, expected "
       "{\"rope_type\":\"default\"}"},
      {[](auto& c) { c.norm_topk_prob = false; },
       "norm_topk_prob is false, expected true"},
      {[](auto& c) { c.num_experts_per_tok = 3; },
       "num_experts_per_tok is 3, expected 2"},
      {[](auto& c) { c.hidden_act = Activation::kGelu; },
       "hidden_act is \"gelu\", expected \"silu\""},
      {[](auto& c) { c.logit_multiplier = 0.5; },
       "logit_multiplier is 0.5, expected 1.0"},
      {[](auto& c) { c.max_position_embeddings = 4096; },
       "max_position_embeddings is 4096, expected 2048"},
      {[](auto& c) { c.tie_word_embeddings = true; },
       "tie_word_embeddings is true, expected false"},
      {[](auto& c) { c.norm_placement = NormPlacement::kPost; },
       "norm_placement is \"post\", expected \"pre\""},
      {[](auto& c) { c.norm_type = NormType::kLayer; },
       "norm_type is \"layer\", expected \"rms\""},
      {[](auto& c) { c.parallel_residual = true; },
       "parallel_residual is true, expected false"},
      {[](auto& c) { c.fused_qkv = true; },
       "fused_qkv is true, expected false"},
      {[](auto& c) { c.partial_rotary_factor = 0.5; },
       "partial_rotary_factor is 0.5, expected 1.0"},
      {[](auto& c) { c.qkv_bias = true; }, "qkv_bias is true, expected false"},
      {[](auto& c) { c.o_bias = true; }, "o_bias is true, expected false"},
      {[](auto& c) { c.mlp_bias = true; }, "mlp_bias is true, expected false"},
      {[](auto& c) { c.head_dim = 12; }, "head_dim is 12, expected 6"},
      {[](auto& c) { c.num_key_value_heads = 4; },
       "num_key_value_heads is 4, expected 8"},
      {[](auto& c) { c.vocab_size = 64; }, "vocab_size is 64, expected 61"},
      {[](auto& c) { c.qk_norm = QkNorm::kFull; },
       "qk_norm is \"full\", expected \"none\""},
  };
  for (const Change& change : changes) {
    ModelConfig child = recipe.child;
    change.make(child);
    const Verdict verdict = config_audit(recipe, child);
    EXPECT_FALSE(verdict.passed) << change.says;
    EXPECT_NE(verdict.note.find(change.says), std::string::npos)
        << verdict.note;
    EXPECT_EQ(verdict.tensor, "config.json");
  }
}

// The recipe's own word for the child's config counts for nothing.
TEST(ConfigAudit, DoesNotTakeTheRecipesWord) {
  grow::Recipe recipe = widened({.gated = true});
  recipe.child.rms_norm_eps = 2e-5;
  recipe.child.rope_theta = 500;
  EXPECT_EQ(config_audit(recipe, recipe.child).measured, 2);
}

TEST(ConfigAudit, ADenseParentsMixtureRenormalises) {
  grow::Recipe recipe =
      grow::Upcycle(UpcyclePlan{.num_experts = 4})
          .recipe(tiny::config({.gated = true, .qk_norm = true}), 3);
  recipe.child.norm_topk_prob = false;
  const Verdict verdict = config_audit(recipe, recipe.child);
  EXPECT_EQ(verdict.note, "norm_topk_prob is false, expected true");
}

// Zeros beside the residual lower its mean square, and eps must follow; that
// and nothing else.
TEST(ConfigAudit, EpsFollowsAPaddedResidual) {
  grow::Recipe recipe = widened({.gated = true});
  recipe.axes[Axis::kResidual] = {{0, 24}, {grow::kNew, 12}};
  const double eps = recipe.parent.rms_norm_eps;
  EXPECT_DOUBLE_EQ(implied_config(recipe).rms_norm_eps, eps * 24 / 36);
  EXPECT_EQ(implied_config(recipe).hidden_size, 36);
  recipe.axes[Axis::kResidual] = {{0, 24}, {0, 24}, {grow::kNew, 12}};
  EXPECT_DOUBLE_EQ(implied_config(recipe).rms_norm_eps, eps * 48 / 60);
}

// A tied head may carry the copies in the multiplier, and nothing else there.
TEST(ConfigAudit, TheMultiplierOfATiedHead) {
  grow::Recipe recipe = grow::Widen(WidenPlan{.head = WidenHead::kFold})
                            .recipe(tiny::config({.gated = true}), 3);
  recipe.child.logit_multiplier = 0.5;
  EXPECT_TRUE(config_audit(recipe, recipe.child).passed);
  recipe.child.logit_multiplier = 0.25;
  EXPECT_FALSE(config_audit(recipe, recipe.child).passed);
}

}  // namespace
}  // namespace annuli::verify
