#include "annuli/verify/rope_integrity.h"

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "annuli/grow/deepen.h"
#include "annuli/grow/widen.h"
#include "tests/support/grown_pair.h"

namespace annuli::verify {
namespace {

std::vector<Verdict> judge(const tiny::GrownPair& pair) {
  return rope_integrity(pair.record, pair.recipe, pair.probe, pair.child);
}

tiny::GrownPair widened(const tiny::Flavour& flavour) {
  return tiny::grown_pair(flavour,
                          grow::Widen(WidenPlan{2, 10, WidenHead::kUntie}));
}

TEST(RopeIntegrity, EveryHeadAndCopyIsTheParents) {
  for (const int64_t kv_heads : {4, 2, 1}) {
    const auto verdicts =
        judge(widened({.gated = true, .num_key_value_heads = kv_heads}));
    ASSERT_EQ(verdicts.size(), 3U);
    EXPECT_EQ(tiny::first_failure(verdicts), nullptr) << tiny::lines(verdicts);
  }
}

// The first layer and head that differ, of q or of k, whichever copy.
TEST(RopeIntegrity, NamesLayerAndHead) {
  for (const Part part : {Part::kQ, Part::kK}) {
    const auto pair = widened({.gated = true});
    const int64_t head_dim = pair.child.config().head_dim;
    pair.weight(part, 1).narrow(0, 5 * head_dim, head_dim).mul_(1.001);
    const auto verdicts = judge(pair);
    const Verdict* failure = tiny::first_failure(verdicts);
    ASSERT_NE(failure, nullptr);
    EXPECT_EQ(failure->layer, 1);
    EXPECT_EQ(failure->note, "head 5");
    EXPECT_EQ(failure->tensor, pair.child.table()[pair.row(part, 1)].name);
  }
}

// Positions turn otherwise; the matrices are all right, so only this sees why.
TEST(RopeIntegrity, AnotherRotationFails) {
  auto pair = widened({.gated = true});
  ModelConfig config = pair.child.config();
  config.rope_theta = 500;
  pair.child = tiny::with_config(pair.child, config);
  const auto verdicts = judge(pair);
  EXPECT_FALSE(verdicts[1].passed);
  EXPECT_FALSE(verdicts[2].passed);
  EXPECT_EQ(verdicts[1].layer, 0);
}

// Heads of another width: more of them could make up the same matrix.
TEST(RopeIntegrity, AnotherHeadDimIsRefusedAtOnce) {
  auto pair = widened({});
  pair.recipe.child.head_dim *= 2;
  const auto verdicts = judge(pair);
  ASSERT_EQ(verdicts.size(), 1U);
  EXPECT_FALSE(verdicts[0].passed);
}

TEST(RopeIntegrity, NewLayersAreNotCompared) {
  const auto pair =
      tiny::grown_pair({}, grow::Deepen(DeepenPlan{.add_layers = 2}));
  pair.weight(Part::kQ, 4).mul_(2);
  EXPECT_EQ(tiny::first_failure(judge(pair)), nullptr);
  pair.weight(Part::kQ, 2).mul_(2);
  EXPECT_NE(tiny::first_failure(judge(pair)), nullptr);
}

}  // namespace
}  // namespace annuli::verify
