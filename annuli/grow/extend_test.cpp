#include "annuli/grow/extend.h"

#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "annuli/core/user_error_for_tests.h"
#include "tests/support/growth_checks.h"
#include "tests/support/tiny_model.h"

namespace annuli::grow {
namespace {

using testing::HasSubstr;
using Type = RopeScaling::Type;

ModelConfig parent_config() {
  ModelConfig config = tiny::config({.gated = true});
  config.max_position_embeddings = 64;
  return config;
}

ModelConfig extended(const ExtendPlan& plan) {
  return Extend(plan).recipe(parent_config(), 3).child;
}

TEST(ExtendShape, IsThatOfItsMethod) {
  const ModelConfig parent = parent_config();
  const ModelConfig yarn = extended({.max_position_embeddings = 256});
  EXPECT_EQ(yarn.rope_scaling.type, Type::kYarn);
  EXPECT_EQ(yarn.rope_scaling.factor, 4);
  EXPECT_EQ(yarn.rope_scaling.original_max_position_embeddings, 64);
  EXPECT_EQ(yarn.rope_scaling.attention_factor, 0.1 * std::log(4.0) + 1);
  EXPECT_EQ(yarn.rope_theta, parent.rope_theta);
  EXPECT_EQ(yarn.max_position_embeddings, 256);

  const ModelConfig linear = extended(
      {.max_position_embeddings = 96, .method = ExtendMethod::kLinear});
  EXPECT_EQ(linear.rope_scaling.type, Type::kLinear);
  EXPECT_EQ(linear.rope_scaling.factor, 1.5);

  // The slowest frequency, theta^(-(d-2)/d), over the factor.
  const ModelConfig theta = extended(
      {.max_position_embeddings = 256, .method = ExtendMethod::kTheta});
  EXPECT_EQ(theta.rope_scaling.type, Type::kDefault);
  const auto d = static_cast<double>(parent.rotary_dim());
  EXPECT_NEAR(std::pow(parent.rope_theta / theta.rope_theta, (d - 2) / d), 0.25,
              1e-12);
  EXPECT_EQ(extended({.max_position_embeddings = 256,
                      .method = ExtendMethod::kTheta,
                      .rope_theta = 7e5})
                .rope_theta,
            7e5);
}

TEST(ExtendFunction, ChangesPositionsAlone) {
  const Transformer parent = tiny::model(parent_config(), at::kDouble);
  for (const ExtendMethod method :
       {ExtendMethod::kYarn, ExtendMethod::kTheta, ExtendMethod::kLinear}) {
    const Recipe recipe =
        Extend({.max_position_embeddings = 256, .method = method})
            .recipe(parent.config(), 3);
    EXPECT_FALSE(recipe.exact);
    const Transformer child = tiny::grown(parent, recipe);
    for (size_t row = 0; row < parent.table().size(); ++row) {
      EXPECT_TRUE(at::equal(parent.weight(row), child.weight(row)));
    }
    const at::Tensor tokens = tiny::growth_probe(parent.config());
    const at::Tensor change =
        (parent.logits(tokens) - child.logits(tokens)).abs();
    // The first token sees itself alone, whatever its angle.
    EXPECT_LE(change.select(1, 0).max().item<double>(), 1e-12);
    EXPECT_GT(change.select(1, -1).max().item<double>(), 1e-6);
  }
}

std::string refusal(const ExtendPlan& plan, const ModelConfig& parent) {
  return test::user_error_of([&] { Extend(plan).recipe(parent, 3); });
}

TEST(ExtendShape, WhatCannotBeIsRefusedInOneLine) {
  ModelConfig parent = parent_config();
  EXPECT_THAT(refusal({.max_position_embeddings = 64}, parent),
              HasSubstr("found 64, expected more than the parent's 64"));
  EXPECT_THAT(refusal({}, parent), HasSubstr("found 0, expected more than"));
  EXPECT_THAT(
      refusal({.max_position_embeddings = 128, .rope_theta = 1e6}, parent),
      HasSubstr("extend.rope_theta: found it beside another method"));
  parent.rope_scaling = {Type::kLinear, 2};
  EXPECT_THAT(refusal({.max_position_embeddings = 128}, parent),
              HasSubstr("stretched already"));
}

}  // namespace
}  // namespace annuli::grow
