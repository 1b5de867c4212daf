#include "annuli/config/plan_changes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace annuli {
namespace {

constexpr const char* kPlan = R"(
name: changing
seed: 1
data: {text: [x.txt]}
model: {hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2,
        num_attention_heads: 2}
phases:
  - {name: dense, train: {max_steps: 3, learning_rate: 1.0e-3, batch_size: 2}}
  - name: moe
    grow: {upcycle: {num_experts: 4}}
    train: {max_steps: 3, learning_rate: 1.0e-3, batch_size: 2}
  - name: deep
    grow: {deepen: {add_layers: 1}}
    train: {max_steps: 3, learning_rate: 1.0e-3, batch_size: 2}
)";

// Of a run that is in the second phase, with `overrides` in the new plan.
std::vector<PlanChange> changes(const std::vector<std::string>& overrides,
                                bool phase_ended = false) {
  return plan_changes(hashed_json(parse_plan(kPlan, "old")),
                      hashed_json(parse_plan(kPlan, "new", overrides)), 1,
                      phase_ended);
}

TEST(PlanChanges, NoneInTheSamePlan) { EXPECT_TRUE(changes({}).empty()); }

TEST(PlanChanges, FieldsThatAreNotHashedDoNotCount) {
  EXPECT_TRUE(
      changes({"threads=1", "save_steps=7", "on_failure=rollback"}).empty());
}

TEST(PlanChanges, NameKeyAndBothValues) {
  const auto found = changes({"phases.moe.train.max_steps=9"});
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(to_text(found[0]), "phases.moe.train.max_steps 3 -> 9");
}

TEST(PlanChanges, EffectIsByPlace) {
  const auto effect = [](const std::string& override, bool ended = false) {
    const auto found = changes({override}, ended);
    EXPECT_EQ(found.size(), 1u) << override;
    return found.at(0).effect;
  };
  using enum ChangeEffect;
  EXPECT_EQ(effect("seed=2"), kBehind);
  EXPECT_EQ(effect("model.hidden_act=relu2"), kBehind);
  EXPECT_EQ(effect("optimizer.weight_decay=0.5"), kBehind);
  EXPECT_EQ(effect("phases.dense.train.max_steps=9"), kBehind);
  EXPECT_EQ(effect("phases.moe.grow.upcycle.num_experts=8"), kBehind);
  EXPECT_EQ(effect("phases.moe.train.learning_rate=0.5"), kNow);
  EXPECT_EQ(effect("phases.moe.train.learning_rate=0.5", true), kBehind);
  EXPECT_EQ(effect("evaluation.windows=3"), kNow);
  EXPECT_EQ(effect("phases.deep.grow.deepen.add_layers=2"), kAhead);
  EXPECT_EQ(effect("phases.deep.train.batch_size=4"), kAhead);
}

TEST(PlanChanges, PhasesCanBeAddedAndTakenAway) {
  std::string longer = kPlan;
  longer += R"(  - name: deeper
    grow: {deepen: {add_layers: 1}}
    train: {max_steps: 3, learning_rate: 1.0e-3, batch_size: 2}
)";
  const auto shorter_json = hashed_json(parse_plan(kPlan, "short"));
  const auto longer_json = hashed_json(parse_plan(longer, "long"));
  const auto added = plan_changes(shorter_json, longer_json, 1, false);
  ASSERT_EQ(added.size(), 1u);
  EXPECT_EQ(added[0].key, "phases.deeper");
  EXPECT_EQ(added[0].before, "nothing");
  EXPECT_EQ(added[0].effect, ChangeEffect::kAhead);
  const auto taken = plan_changes(longer_json, shorter_json, 3, false);
  ASSERT_EQ(taken.size(), 1u);
  EXPECT_EQ(taken[0].after, "nothing");
  EXPECT_EQ(taken[0].effect, ChangeEffect::kBehind);
}

}  // namespace
}  // namespace annuli
