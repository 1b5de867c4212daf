#include "annuli/budget/phase_steps.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "annuli/budget/compute.h"
#include "annuli/core/error.h"

namespace annuli::budget {
namespace {

using testing::HasSubstr;

// Four layers of 16, then twice as wide; a step is 32 tokens.
Plan plan_of(const char* small, const char* large, const char* budget) {
  return parse_plan(fmt::format(R"(
name: try
tokenizer: bytes
data: {{text: [x.txt], sequence_length: 8}}
model: {{hidden_size: 16, intermediate_size: 32, num_hidden_layers: 4,
         num_attention_heads: 2}}
budget: {}
phases:
  - {{name: small, train: {{{}, learning_rate: 1e-3, batch_size: 4}}}}
  - {{name: large, grow: {{widen: {{}}}},
      train: {{{}, learning_rate: 1e-3, batch_size: 4}}}}
)",
                                budget, small, large),
                    "try.yaml");
}

std::pair<int64_t, int64_t> steps_of(const Plan& plan) {
  const Plan planned = with_steps(plan);
  return {planned.phases[0].train.max_steps, planned.phases[1].train.max_steps};
}

TEST(PhaseSteps, APlanThatHasThemStaysAsItIs) {
  const Plan plan = plan_of("max_steps: 7", "max_steps: 9", "null");
  EXPECT_EQ(with_steps(plan), plan);
}

TEST(PhaseSteps, TokensMakeWholeSteps) {
  EXPECT_EQ(steps_of(plan_of("max_tokens: 96", "max_tokens: 127", "null")),
            std::make_pair(int64_t{3}, int64_t{3}));
}

// What the first phase leaves of its half goes to the second.
TEST(PhaseSteps, SharesSpendTheWholeBudget) {
  EXPECT_EQ(steps_of(plan_of("share: 0.5", "share: 0.5", "{tokens: 224}")),
            std::make_pair(int64_t{3}, int64_t{4}));
  EXPECT_EQ(steps_of(plan_of("share: 0.1", "share: 0.2", "{tokens: 3200}")),
            std::make_pair(int64_t{10}, int64_t{20}));
}

// Windows of 16 in place of 8: a step has twice the tokens, and attention costs
// more for each.
TEST(PhaseSteps, StepsAreOfThePhasesOwnLength) {
  EXPECT_EQ(steps_of(plan_of("max_tokens: 128, sequence_length: 16",
                             "max_tokens: 127", "null")),
            std::make_pair(int64_t{2}, int64_t{3}));
  const Plan plan =
      plan_of("max_flops: 5e8, sequence_length: 16", "max_steps: 2", "null");
  const ModelConfig small = config_at_start(plan);
  EXPECT_EQ(steps_of(plan).first,
            static_cast<int64_t>(5e8 / training_flops(small, 16, 64)));
  EXPECT_GT(training_flops(small, 16, 64), 2 * training_flops(small, 8, 32));
}

// Operations are those of each phase's own model.
TEST(PhaseSteps, OperationsCountByTheModelAtHand) {
  const Plan plan = plan_of("share: 0.5", "share: 0.5", "{flops: 1e9}");
  const ModelConfig small = config_at_start(plan);
  const double of_step = training_flops(small, 8, 32);
  EXPECT_DOUBLE_EQ(of_step, 3 * 32 * forward_flops(small, 8));
  const auto [first, second] = steps_of(plan);
  EXPECT_EQ(first, static_cast<int64_t>(5e8 / of_step));
  EXPECT_LT(second, first);
  EXPECT_GT(second, first / 6);
  const auto [alone, other] =
      steps_of(plan_of("max_flops: 5e8", "max_steps: 2", "null"));
  EXPECT_EQ(alone, first);
  EXPECT_EQ(other, 2);
}

TEST(PhaseSteps, NothingIsLeftOfTheBudgetInThePlan) {
  const Plan plan =
      with_steps(plan_of("share: 0.5", "share: 0.5", "{tokens: 224}"));
  EXPECT_FALSE(plan.budget.has_value());
  EXPECT_FALSE(plan.phases[0].train.share.has_value());
  EXPECT_EQ(parse_plan(to_yaml(plan), "again.yaml"), plan);
}

const char* const kUntil = "share: 0.75, until: {slope: 0.1}";

// The budget stays, for what a phase that ends early leaves of it.
TEST(PhaseSteps, WhatAPhaseLeavesGoesToTheNext) {
  Plan plan = with_steps(plan_of(kUntil, "share: 0.25", "{tokens: 3200}"));
  ASSERT_TRUE(plan.budget.has_value());
  EXPECT_EQ(parse_plan(to_yaml(plan), "again.yaml"), plan);
  EXPECT_EQ(with_steps(plan), plan);
  end_early(plan, 0, 30);
  EXPECT_EQ(plan.phases[0].train.max_steps, 30);
  EXPECT_EQ(plan.phases[1].train.max_steps, 25 + 45);
}

// In operations the larger model does fewer steps with what is left.
TEST(PhaseSteps, WhatIsLeftIsCountedInTheBudgetsUnit) {
  Plan plan = with_steps(plan_of(kUntil, "share: 0.25", "{flops: 1e9}"));
  const Plan before = plan;
  const auto spent = [](const Plan& of) {
    const Spent last = flops_at(of, 1);
    return last.before +
           last.of_step * static_cast<double>(of.phases[1].train.max_steps);
  };
  end_early(plan, 0, before.phases[0].train.max_steps / 2);
  EXPECT_LE(spent(plan), spent(before));
  EXPECT_GT(spent(plan), spent(before) - flops_at(plan, 1).of_step);
}

TEST(PhaseSteps, WithoutABudgetStepsThatAreLeftAreNotDone) {
  Plan plan =
      plan_of("max_steps: 9, until: {slope: 0.1}", "max_steps: 5", "null");
  end_early(plan, 0, 4);
  EXPECT_EQ(plan.phases[0].train.max_steps, 4);
  EXPECT_EQ(plan.phases[1].train.max_steps, 5);
}

TEST(PhaseSteps, TooLittleForAStepIsRefused) {
  try {
    with_steps(plan_of("max_tokens: 31", "max_steps: 1", "null"));
    FAIL();
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), HasSubstr("planning phase small: found a budget "
                                        "of 31, expected 1 to 1e9 steps of "
                                        "32 each"));
  }
}

std::string refusal_of(const char* small, const char* large,
                       const char* budget) {
  try {
    plan_of(small, large, budget);
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

TEST(PhaseSteps, APhaseHasOneMeasureOfItsLength) {
  const char* kTwo = "max_steps: 2";
  EXPECT_THAT(refusal_of("max_steps: 3, max_tokens: 64", kTwo, "null"),
              HasSubstr("expected one of max_steps, max_tokens"));
  EXPECT_THAT(refusal_of("max_flops: 3, max_tokens: 64", kTwo, "null"),
              HasSubstr("found beside max_tokens, expected one of the two"));
  EXPECT_THAT(refusal_of("share: 0.5", kTwo, "null"),
              HasSubstr("found without the plan's budget"));
  EXPECT_THAT(refusal_of(kTwo, kTwo, "{tokens: 5}"),
              HasSubstr("found no phase with a share of it"));
  EXPECT_THAT(refusal_of("share: 0.5", "share: 0.6", "{tokens: 5}"),
              HasSubstr("sum to 1.1"));
  EXPECT_THAT(refusal_of("share: 0.5", "share: 0.5", "{tokens: 5, flops: 6}"),
              HasSubstr("expected one of tokens, flops"));
  EXPECT_THAT(refusal_of("max_grad_norm: 1", kTwo, "null"),
              HasSubstr("max_steps is missing"));
}

TEST(PhaseSteps, OnlyAPhaseBeforeGrowthAtAConstantRateMayEndEarly) {
  const char* kTwo = "max_steps: 2";
  const char* kEnds = "max_steps: 2, until: {slope: 0.1}";
  EXPECT_EQ(refusal_of(kEnds, kTwo, "null"), "");
  EXPECT_THAT(refusal_of(kTwo, kEnds, "null"),
              HasSubstr("phases.1.train.until: found in the last phase"));
  EXPECT_THAT(refusal_of("max_steps: 2, until: {slope: 0.1}, "
                         "lr_scheduler_type: cosine",
                         kTwo, "null"),
              HasSubstr("found with a rate that decays"));
  EXPECT_THAT(refusal_of("max_steps: 2, until: {slope: 0}", kTwo, "null"),
              HasSubstr("expected a number, above 0"));
  EXPECT_THAT(refusal_of("max_steps: 2, until: {}", kTwo, "null"),
              HasSubstr("slope is missing"));
}

}  // namespace
}  // namespace annuli::budget
