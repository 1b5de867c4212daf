#include "annuli/config/class_notice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "annuli/core/file.h"
#include "annuli/core/folder_for_tests.h"
#include "annuli/core/json.h"

namespace annuli {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

ModelConfig llama() {
  ModelConfig config;
  config.gated = true;
  config.hidden_act = Activation::kSilu;
  return config;
}

std::string notice(void (*change)(ModelConfig&), bool shared = false) {
  ModelConfig parent = llama();
  change(parent);
  GrowPlan growth;
  growth.upcycle = UpcyclePlan{.shared_expert = shared};
  return class_notice(parent, growth);
}

TEST(ClassNotice, NamesWhatHasNoClassAndTheOptionThatGivesOne) {
  EXPECT_EQ(notice([](auto&) {}), "");
  EXPECT_EQ(notice([](auto& c) { c.qk_norm = QkNorm::kHead; }), "");
  EXPECT_EQ(notice([](auto& c) { c.qkv_bias = true; }),
            "transformers has no class for a mixture with these biases; the "
            "child is written as annuli_moe, which only annuli reads; "
            "--shared-expert makes a qwen2_moe, which transformers reads");
  EXPECT_EQ(notice([](auto& c) { c.qkv_bias = true; }, true), "");
  EXPECT_THAT(notice([](auto& c) {
                c.gated = false;
                c.hidden_act = Activation::kRelu2;
              }),
              HasSubstr("no gate in its feed-forward; "));
  EXPECT_THAT(notice([](auto& c) {
                c.norm_placement = NormPlacement::kPost;
                c.qk_norm = QkNorm::kFull;
              }),
              HasSubstr("norms behind attention and feed-forward; "));
  EXPECT_THAT(notice([](auto& c) { c.logit_multiplier = 0.5; }),
              AllOf(HasSubstr("a multiplier of its logits"),
                    EndsWith("which only annuli reads")));
  EXPECT_EQ(notice([](auto&) {}, true), "");  // a qwen2_moe without biases
  EXPECT_THAT(notice([](auto& c) { c.qk_norm = QkNorm::kHead; }, true),
              HasSubstr("a mixture with norms of q and k; "));
}

TEST(ClassNotice, SaysNothingWhereTheParentHasNoClassEither) {
  EXPECT_EQ(notice([](auto& c) {
              c.gated = false;
              c.qk_norm = QkNorm::kHead;
            }),
            "");
}

TEST(ClassNotice, LooksAtTheEndOfAChain) {
  GrowPlan growth;
  growth.chain.resize(2);
  growth.chain[0].upcycle = UpcyclePlan();
  growth.chain[1].widen = WidenPlan{.head = WidenHead::kMultiplier};
  EXPECT_THAT(class_notice(llama(), growth),
              EndsWith("--head untie makes a mixtral, which transformers "
                       "reads"));
  growth.chain[1].widen->head = WidenHead::kUntie;
  EXPECT_EQ(class_notice(llama(), growth), "");
}

// A Qwen2, from disk, deepened and then upcycled: the second child has no
// class.
TEST(ClassNotice, APlanFromAModelSaysWhichGrowthLosesTheClass) {
  const test::TestFolder scratch;
  const fs::path& folder = scratch.path();
  ModelConfig config = llama();
  config.qkv_bias = true;
  write_json(folder / "config.json", to_json(config));
  Plan plan;
  EXPECT_TRUE(class_notices(plan).empty());
  plan.model.from = folder.string();
  PhasePlan deeper{.name = "deeper", .grow = GrowPlan{}};
  deeper.grow->deepen = DeepenPlan{};
  PhasePlan mixture{.name = "mixture", .grow = GrowPlan{}};
  mixture.grow->upcycle = UpcyclePlan{};
  plan.phases = {deeper, mixture, deeper};
  const std::vector<std::string> lines = class_notices(plan);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_THAT(lines[0],
              HasSubstr("growing mixture: transformers has no class for a "
                        "mixture with these biases"));
  plan.model.from = (folder / "model.pt").string();
  write_file_atomically(plan.model.from, "");
  EXPECT_TRUE(class_notices(plan).empty());
}

}  // namespace
}  // namespace annuli
