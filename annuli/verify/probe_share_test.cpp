// A proof that looks at a share of the probe refuses what one that looks at all
// of it refuses.
#include "annuli/verify/probe_share.h"

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>

#include "annuli/core/folder_for_tests.h"
#include "annuli/grow/merge_experts.h"
#include "annuli/grow/upcycle.h"
#include "annuli/grow/widen.h"
#include "annuli/verify/functional_identity.h"
#include "annuli/verify/verify_folders.h"
#include "tests/support/grown_pair.h"
#include "tests/support/model_folder.h"

namespace annuli::verify {
namespace {

constexpr size_t kAll = 8;
constexpr int64_t kLength = 64;

grow::Recipe mixture_of(int64_t num_experts, int64_t num_experts_per_tok) {
  return grow::Upcycle(UpcyclePlan{.num_experts = num_experts,
                                   .num_experts_per_tok = num_experts_per_tok})
      .recipe(tiny::config({.gated = true}), 3);
}

TEST(ProbeShare, IsAWindowUnlessExpertsAreRarelyChosen) {
  const auto dense =
      grow::Widen(WidenPlan{}).recipe(tiny::config({.gated = true}), 3);
  EXPECT_EQ(windows_needed(dense, 256, kAll), 1U);
  EXPECT_EQ(windows_needed(mixture_of(8, 2), 256, kAll), 1U);  // 224 tokens
  EXPECT_EQ(windows_needed(mixture_of(8, 2), 128, kAll), 2U);
  EXPECT_EQ(windows_needed(mixture_of(64, 2), 256, kAll), 7U);
  EXPECT_EQ(windows_needed(mixture_of(64, 1), 256, kAll), kAll);
}

TEST(ProbeShare, ModelsThatAreMergedAreComparedOnAllOfIt) {
  const auto merged = grow::MergeExperts(MergeExpertsPlan{.with = {"second"}})
                          .recipe(tiny::config({.gated = true}), 3);
  EXPECT_EQ(windows_needed(merged, 256, kAll), kAll);
}

Probe long_probe(const ModelConfig& config, uint64_t seed) {
  Probe probe = tiny::probe(config);
  probe.tokens.clear();
  probe.targets.clear();
  for (size_t i = 0; i < kAll; ++i) {
    const at::Tensor drawn =
        tiny::tokens(1, kLength + 1, config.vocab_size, 100 * seed + i);
    probe.tokens.push_back(drawn.narrow(1, 0, kLength).clone());
    probe.targets.push_back(drawn.narrow(1, 1, kLength).clone());
  }
  return probe;
}

// By a check of the computation, not of the weights. (Which of them: a fault
// may be as small as a limit, and on either side of it for other tokens.)
bool is_refused(const FolderVerdicts& result) {
  return std::ranges::any_of(result.verdicts, [](const Verdict& verdict) {
    return verdict.check != "tensor_audit" && !verdict.passed;
  });
}

class ShareOfGrowth : public ::testing::TestWithParam<tiny::GrowthCase> {
 protected:
  ShareOfGrowth()
      : parent_(tiny::model(tiny::config(GetParam().flavour), at::kFloat)),
        recipe_(GetParam().op->recipe(parent_.config(), 3)) {
    tiny::save_as(parent_, folder_.path() / "parent", at::kFloat);
  }

  FolderVerdicts judged(const std::string& damaged, bool whole_probe) const {
    const fs::path child = folder_.path() / "child";
    fs::remove_all(child);
    tiny::save_grown(parent_, recipe_, child, at::kFloat,
                     [&](const TensorSpec& spec, at::Tensor& value) {
                       if (spec.name == damaged) value.mul_(0.5);
                     });
    const ModelFile file(folder_.path() / "parent");
    return verify_folders({&file}, ModelFile(child), recipe_,
                          long_probe(parent_.config(), 7),
                          {.loss_budget = 100, .whole_probe = whole_probe});
  }

  test::TestFolder folder_;
  Transformer parent_;
  grow::Recipe recipe_;
};

INSTANTIATE_TEST_SUITE_P(Growths, ShareOfGrowth,
                         ::testing::ValuesIn(tiny::growth_cases()),
                         [](const auto& info) { return info.param.name; });

TEST_P(ShareOfGrowth, RefusesWhatTheWholeProbeRefuses) {
  size_t refused = 0;
  for (const TensorSpec& spec : tensor_table(recipe_.child)) {
    if (spec.layer == 0 || spec.layer > 1 || spec.expert > 0) continue;
    const FolderVerdicts share = judged(spec.name, /*whole_probe=*/false);
    const FolderVerdicts whole = judged(spec.name, /*whole_probe=*/true);
    EXPECT_EQ(is_refused(share), is_refused(whole)) << spec.name;
    EXPECT_LT(share.windows, kAll);
    EXPECT_EQ(whole.windows, kAll);
    refused += is_refused(whole) ? 1 : 0;
  }
  EXPECT_TRUE(!recipe_.exact || refused > 0);
}

// The loss is what has to be measured where nothing is preserved.
TEST(ProbeShare, ARiseNearItsBudgetIsMeasuredOnTheWholeProbe) {
  const test::TestFolder folder;
  const Transformer parent =
      tiny::model(tiny::config({.gated = true, .tied = false}), at::kFloat);
  const grow::Recipe recipe =
      grow::Upcycle(UpcyclePlan{.num_experts = 4, .drop_ratio = 0.5})
          .recipe(parent.config(), 3);
  tiny::save_as(parent, folder.path() / "parent", at::kFloat);
  tiny::save_grown(parent, recipe, folder.path() / "child", at::kFloat);
  const ModelFile before(folder.path() / "parent");
  const ModelFile after(folder.path() / "child");
  const auto judged = [&](double budget) {
    return verify_folders({&before}, after, recipe,
                          long_probe(parent.config(), 7),
                          {.loss_budget = budget});
  };
  const FolderVerdicts far = judged(100);
  EXPECT_LT(far.windows, kAll);
  const double rise = far.verdicts.back().measured;
  // Nearer than what the tokens of a window or two leave open.
  EXPECT_EQ(judged(rise + 1e-3).windows, kAll);
  EXPECT_EQ(judged(rise - 1e-3).windows, kAll);
}

// Thirds in bf16 move the logits of a router by more than many margins: most of
// a window comes behind a near-tie and says nothing.
TEST(ProbeShare, WindowsThatNearTiesCutShortAreNotEnough) {
  const test::TestFolder folder;
  const Transformer parent =
      tiny::model(tiny::config({.mixture = true, .gated = true}), at::kFloat);
  WidenPlan plan;
  plan.factor = 3;
  const grow::Recipe recipe = grow::Widen(plan).recipe(parent.config(), 3);
  tiny::save_as(parent, folder.path() / "parent", at::kBFloat16);
  tiny::save_grown(parent, recipe, folder.path() / "child", at::kBFloat16);
  const ModelFile before(folder.path() / "parent");
  const FolderVerdicts result =
      verify_folders({&before}, ModelFile(folder.path() / "child"), recipe,
                     long_probe(parent.config(), 7));
  EXPECT_EQ(result.windows, kAll);
  EXPECT_TRUE(std::ranges::any_of(result.verdicts, [](const Verdict& verdict) {
    return verdict.aspect == "share of the probe before a near-tie";
  })) << tiny::lines(result.verdicts);
}

// A damaged expert shows at every token that chose it and at no other, so that
// what N tokens miss is what N tokens do not choose.
TEST(ProbeShare, ADamagedExpertShowsWhereverItIsChosen) {
  tiny::GrownPair pair = tiny::grown_pair({.mixture = true, .gated = true},
                                          grow::Widen(WidenPlan{}));
  constexpr int64_t kExpert = 2;
  pair.weight(Part::kDown, 1, kExpert).mul_(0.5);
  constexpr int kProbes = 60;
  constexpr int64_t kTokens = 3;
  int missed = 0;
  for (uint64_t seed = 0; seed < kProbes; ++seed) {
    Probe probe = long_probe(pair.parent.config(), seed);
    probe.tokens = {probe.tokens[0].narrow(1, 0, kTokens)};
    probe.targets = {probe.targets[0].narrow(1, 0, kTokens)};
    const auto record = ParentRecord::take(pair.parent, probe, false);
    bool chosen = false;
    trace_layers(pair.parent, probe.tokens[0],
                 [&](int64_t layer, const LayerTrace& trace) {
                   chosen |= layer == 1 &&
                             trace.experts.eq(kExpert).any().item<bool>();
                 });
    const auto verdicts =
        functional_identity(record, pair.recipe, probe, pair.child);
    EXPECT_EQ(tiny::first_failure(verdicts) != nullptr, chosen) << seed;
    missed += chosen ? 0 : 1;
  }
  // Both happen: the test can fail either way.
  EXPECT_GT(missed, 0);
  EXPECT_LT(missed, kProbes);
}

}  // namespace
}  // namespace annuli::verify
