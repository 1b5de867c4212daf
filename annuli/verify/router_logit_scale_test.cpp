#include "annuli/verify/router_logit_scale.h"

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <limits>

#include "annuli/grow/deepen.h"
#include "annuli/grow/upcycle.h"
#include "annuli/grow/widen.h"
#include "tests/support/grown_pair.h"

namespace annuli::verify {
namespace {

std::vector<Verdict> judge(const tiny::GrownPair& pair) {
  return router_logit_scale(pair.record, pair.recipe, pair.probe, pair.child);
}

Transformer mixture() {
  return tiny::model(tiny::config({.mixture = true, .gated = true}),
                     at::kFloat);
}

tiny::GrownPair widened(const Transformer& parent) {
  return tiny::grown_pair(parent,
                          grow::Widen(WidenPlan{2, 10, WidenHead::kUntie})
                              .recipe(parent.config(), 3));
}

at::Tensor router(const Transformer& model, int64_t layer) {
  return model.weight(find_row(model.table(), Part::kRouter, layer));
}

TEST(RouterLogitScale, WideningKeepsLogitsAndChoices) {
  const auto verdicts = judge(widened(mixture()));
  ASSERT_EQ(verdicts.size(), 2U);
  EXPECT_EQ(tiny::first_failure(verdicts), nullptr) << tiny::lines(verdicts);
}

// Twice the logits choose the same experts: only their size gives it away.
TEST(RouterLogitScale, LogitsTwiceAsLargeFail) {
  const auto pair = widened(mixture());
  pair.weight(Part::kRouter, 2).mul_(2);
  const auto verdicts = judge(pair);
  EXPECT_FALSE(verdicts[0].passed);
  EXPECT_GE(verdicts[0].measured, 0.5);
  EXPECT_EQ(verdicts[0].layer, 2);
  EXPECT_EQ(verdicts[0].tensor,
            pair.child.table()[pair.row(Part::kRouter, 2)].name);
  EXPECT_TRUE(verdicts[1].passed);
}

TEST(RouterLogitScale, TwoExpertsExchangedFail) {
  const auto pair = widened(mixture());
  const at::Tensor rows = pair.weight(Part::kRouter, 1);
  const at::Tensor first = rows.select(0, 0).clone();
  rows.select(0, 0).copy_(rows.select(0, 3));
  rows.select(0, 3).copy_(first);
  const auto verdicts = judge(pair);
  EXPECT_FALSE(verdicts[0].passed);
  EXPECT_FALSE(verdicts[1].passed);
  EXPECT_EQ(verdicts[0].layer, 1);
}

TEST(RouterLogitScale, NanFails) {
  const auto pair = widened(mixture());
  pair.weight(Part::kRouter, 1).fill_(std::numeric_limits<double>::quiet_NaN());
  EXPECT_FALSE(judge(pair)[0].passed);
}

TEST(RouterLogitScale, ZeroRoutersAreSkipped) {
  const Transformer parent = mixture();
  router(parent, 1).zero_();
  const auto verdicts = judge(widened(parent));
  EXPECT_EQ(tiny::first_failure(verdicts), nullptr) << tiny::lines(verdicts);
  router(parent, 0).zero_();
  router(parent, 2).zero_();
  EXPECT_TRUE(judge(widened(parent)).empty());
}

TEST(RouterLogitScale, ADenseParentHasNone) {
  EXPECT_TRUE(judge(tiny::grown_pair({}, grow::Upcycle({}))).empty());
}

TEST(RouterLogitScale, NewLayersAreNotCompared) {
  const Transformer parent = mixture();
  const auto pair = tiny::grown_pair(
      parent,
      grow::Deepen(DeepenPlan{.add_layers = 2}).recipe(parent.config(), 3));
  pair.weight(Part::kRouter, 4).mul_(2);
  EXPECT_EQ(tiny::first_failure(judge(pair)), nullptr);
  pair.weight(Part::kRouter, 2).mul_(2);
  EXPECT_NE(tiny::first_failure(judge(pair)), nullptr);
}

}  // namespace
}  // namespace annuli::verify
