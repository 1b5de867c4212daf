// Closed copies of experts: what the audit demands of their biases, and what
// health says of experts that no token may choose.
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "annuli/grow/chain.h"
#include "annuli/grow/expand_experts.h"
#include "annuli/grow/transforms/closed_copies.h"
#include "annuli/grow/upcycle.h"
#include "annuli/verify/config_audit.h"
#include "annuli/verify/router_health.h"
#include "annuli/verify/selection_audit.h"
#include "annuli/verify/tensor_audit.h"
#include "tests/support/grown_pair.h"

namespace annuli::verify {
namespace {

const tiny::Flavour kBiased{
    .mixture = true, .gated = true, .selection_bias = true};
const grow::ExpandExperts kClosed(ExpandExpertsPlan{
    .factor = 2, .num_experts_per_tok = 2, .selection_bias = true});

class SelectionGrowth : public ::testing::TestWithParam<bool> {
 protected:
  at::Tensor bias(int64_t layer) const {
    return pair_.weight(Part::kSelectionBias, layer);
  }
  std::vector<Verdict> audit() const {
    return tensor_audit({pair_.record.sketches}, pair_.recipe, pair_.child,
                        pair_.record.feed_forward_mean);
  }
  // The audit names the biases of layer 1 that `harm` has changed.
  void expect_refused(const std::function<void(at::Tensor bias)>& harm,
                      const std::string& what) {
    const at::Tensor right = bias(1).clone();
    harm(bias(1));
    const auto verdicts = audit();
    const Verdict* failure = tiny::first_failure(verdicts);
    ASSERT_NE(failure, nullptr) << what;
    EXPECT_EQ(failure->check, "tensor_audit") << what;
    EXPECT_EQ(failure->tensor,
              pair_.child.table()[pair_.row(Part::kSelectionBias, 1)].name);
    bias(1).copy_(right);
    EXPECT_EQ(tiny::first_failure(audit()), nullptr);
  }

  tiny::Flavour flavour() const {
    tiny::Flavour flavour = kBiased;
    flavour.selection_bias = GetParam();
    return flavour;
  }
  tiny::GrownPair pair_ = tiny::grown_pair(flavour(), kClosed);
};

INSTANTIATE_TEST_SUITE_P(Parents, SelectionGrowth, ::testing::Bool(),
                         [](const auto& info) {
                           return info.param ? "biased" : "plain";
                         });

TEST_P(SelectionGrowth, IsExactAndProved) {
  const auto verdicts = pair_.verdicts();
  EXPECT_EQ(tiny::first_failure(verdicts), nullptr) << tiny::lines(verdicts);
  EXPECT_EQ(copies_of_experts(pair_.recipe), 2);
  EXPECT_EQ(open_copies(pair_.recipe), 1);
}

TEST_P(SelectionGrowth, ACopyLeftOpenIsRefused) {
  expect_refused([](at::Tensor b) { b[6].copy_(b[2]); }, "as its original");
  // Not closed for every token: probabilities may differ by up to 1.
  const double least = bias(1).narrow(0, 0, 4).min().item<double>();
  expect_refused([&](at::Tensor b) { b[6].fill_(least - 0.25); }, "too near");
  // Far enough, but not what the growth makes.
  expect_refused([&](at::Tensor b) { b[6].fill_(least - 2); }, "too far");
}

TEST_P(SelectionGrowth, AnOriginalWithAnotherBiasIsRefused) {
  expect_refused([](at::Tensor b) { b[2].add_(1e-4); }, "moved");
  expect_refused([](at::Tensor b) { b.narrow(0, 0, 4).add_(1e-4); },
                 "all moved");
  if (!GetParam()) return;
  expect_refused([](at::Tensor b) { b.narrow(0, 0, 4).mul_(2); },
                 "not divided by the copies");
}

// The recipe's word does not count: one that leaves a copy open is found out.
TEST_P(SelectionGrowth, ARecipeThatClosesNothingIsRefused) {
  grow::Recipe open = pair_.recipe;
  for (grow::TensorRecipe& line : open.tensors) {
    if (line.find<grow::ClosedCopies>() == nullptr) continue;
    line.remove<grow::ClosedCopies>();
    if (line.source == grow::Source::kFresh) line.source = grow::Source::kZero;
  }
  const auto pair = tiny::grown_pair(pair_.parent, open);
  const auto verdicts =
      tensor_audit({pair.record.sketches}, pair.recipe, pair.child, {});
  const Verdict* failure = tiny::first_failure(verdicts);
  ASSERT_NE(failure, nullptr);
  EXPECT_EQ(failure->tensor,
            pair.child.table()[pair.row(Part::kSelectionBias, 0)].name);
}

TEST_P(SelectionGrowth, AnotherNumberOfExpertsIsNoSettingOfIt) {
  ModelConfig child = pair_.child.config();
  EXPECT_TRUE(config_audit(pair_.recipe, child).passed);
  child.num_experts_per_tok = 3;
  EXPECT_FALSE(config_audit(pair_.recipe, child).passed);
  child.num_experts_per_tok = 2;
  child.selection_bias = false;
  EXPECT_FALSE(config_audit(pair_.recipe, child).passed);
}

// An upcycling and closed copies in one growth: experts without a slot are no
// fault while they are closed, and one that was open is.
TEST(ClosedCopies, HaveNoLoadAndAreHealthy) {
  const grow::Chain chain(
      {{.upcycle = UpcyclePlan{.num_experts = 4, .selection_bias = true}},
       {.expand_experts = ExpandExpertsPlan{
            .factor = 2, .num_experts_per_tok = 2, .selection_bias = true}}});
  tiny::GrownPair pair = tiny::grown_pair({.gated = true}, chain);
  const std::vector<bool> closed = closed_by(pair.recipe);
  EXPECT_EQ(closed, (std::vector<bool>{false, false, false, false, true, true,
                                       true, true}));
  const auto load = router_load(pair.child, pair.probe, closed);
  EXPECT_EQ(tiny::first_failure(load), nullptr) << tiny::lines(load);
  EXPECT_NE(load[0].note.find("12 copies more are closed"), std::string::npos)
      << load[0].note;
  const auto blind = router_load(pair.child, pair.probe);
  EXPECT_EQ(blind[0].measured, 12);
  // One of the open ones closed by hand.
  pair.weight(Part::kSelectionBias, 1)[2].fill_(-2);
  EXPECT_EQ(router_load(pair.child, pair.probe, closed)[0].measured, 1);
}

TEST(ClosedCopies, AreFollowedThroughChains) {
  const grow::Chain chain(
      {{.expand_experts =
            ExpandExpertsPlan{
                .factor = 2, .num_experts_per_tok = 2, .selection_bias = true}},
       {.expand_experts = ExpandExpertsPlan{.factor = 2}}});
  const auto recipe = chain.recipe(tiny::config(kBiased), 3);
  std::vector<bool> expected(16, false);
  for (const size_t e : {4, 5, 6, 7, 12, 13, 14, 15}) expected[e] = true;
  EXPECT_EQ(closed_by(recipe), expected);
  EXPECT_EQ(open_copies(recipe), 2);
  EXPECT_TRUE(closed_by(grow::ExpandExperts(ExpandExpertsPlan{})
                            .recipe(tiny::config(kBiased), 3))
                  .empty());
}

}  // namespace
}  // namespace annuli::verify
