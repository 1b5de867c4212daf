#include "annuli/study/arm_plan.h"

#include <gtest/gtest.h>

#include "annuli/study/study_for_tests.h"
#include "annuli/train/schedule.h"

namespace annuli::study {
namespace {

class ArmPlan : public testing::Test {
 protected:
  Plan plan_of(const char* arm, double point, double rate = 1e-3) const {
    return arm_plan(study_, find_arm(study_, arm),
                    {.seed = 7, .rate = rate, .point = point});
  }

  double rate_at(const Plan& plan, size_t phase, int64_t step) const {
    return train::learning_rate(plan.phases[phase].train, step,
                                train::place_in_run(plan, phase));
  }

  Study study_ = parse_study(small_study(), "study.yaml");
};

TEST_F(ArmPlan, EveryArmSpendsTheSame) {
  for (const char* arm : {"scratch", "stack"}) {
    const Plan plan = plan_of(arm, 1);
    Plan longer = plan;
    ++longer.phases.back().train.max_steps;
    EXPECT_LE(flops_of(plan), study_.flops);
    EXPECT_GT(flops_of(longer), study_.flops);
    EXPECT_EQ(plan.seed, 7);
  }
  EXPECT_EQ(flops_of(plan_of("scratch", 1), /*source=*/true), 0);
  EXPECT_NEAR(flops_of(plan_of("stack", 1), true), study_.flops / 4,
              study_.flops / 50);
}

TEST_F(ArmPlan, RatesKeepTheirRatio) {
  const Plan plan = plan_of("stack", 1, 4e-3);
  EXPECT_EQ(plan.phases[0].train.learning_rate, 4e-3);
  EXPECT_DOUBLE_EQ(plan.phases[1].train.learning_rate, 2e-3);
}

TEST_F(ArmPlan, APointCutsPhasesAndDecaysAtItsEnd) {
  const Plan before_growth = plan_of("stack", 0.2);
  ASSERT_EQ(before_growth.phases.size(), 1);
  const Plan at_growth = plan_of("stack", 0.25);
  ASSERT_EQ(at_growth.phases.size(), 1);
  const Plan half = plan_of("stack", 0.5);
  const Plan whole = plan_of("stack", 1);
  ASSERT_EQ(half.phases.size(), 2);
  EXPECT_EQ(half.phases[0].train.max_steps, whole.phases[0].train.max_steps);
  EXPECT_LE(flops_of(half), study_.flops / 2);
  EXPECT_EQ(rate_at(half, 1, half.phases[1].train.max_steps), 0);
  EXPECT_EQ(rate_at(before_growth, 0, before_growth.phases[0].train.max_steps),
            0);
}

// Up to the branch point the cut run's rates are the whole one's.
TEST_F(ArmPlan, ABranchLeavesBeforeItsDecay) {
  const Plan whole = plan_of("stack", 1);
  for (const double point : {0.2, 0.25, 0.5, 0.75}) {
    const Plan cut = plan_of("stack", point);
    const auto stop = branch_point(cut);
    ASSERT_TRUE(stop.has_value()) << point;
    EXPECT_EQ(stop->phase, cut.phases.size() - 1);
    EXPECT_EQ(rate_at(cut, stop->phase, stop->step),
              rate_at(whole, stop->phase, stop->step));
    EXPECT_LT(rate_at(cut, stop->phase, stop->step + 1),
              rate_at(whole, stop->phase, stop->step + 1));
  }
}

}  // namespace
}  // namespace annuli::study
