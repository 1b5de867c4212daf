#include "annuli/train/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace annuli::train {
namespace {

TrainPlan plan_of(LrSchedulerType type) {
  TrainPlan plan;
  plan.max_steps = 100;
  plan.learning_rate = 2e-3;
  plan.lr_scheduler_type = type;
  plan.warmup_steps = 10;
  plan.min_lr_ratio = 0.1;
  plan.decay_ratio = 0.25;
  return plan;
}

TEST(Schedule, WarmsUpLinearly) {
  for (auto type : {LrSchedulerType::kConstant, LrSchedulerType::kCosine}) {
    const TrainPlan plan = plan_of(type);
    EXPECT_DOUBLE_EQ(learning_rate(plan, 1), 2e-4);
    EXPECT_DOUBLE_EQ(learning_rate(plan, 10), 2e-3);
  }
}

TEST(Schedule, FollowsItsClosedForm) {
  EXPECT_DOUBLE_EQ(learning_rate(plan_of(LrSchedulerType::kConstant), 100),
                   2e-3);
  const TrainPlan linear = plan_of(LrSchedulerType::kLinear);
  EXPECT_DOUBLE_EQ(learning_rate(linear, 55), 2e-3 - 0.5 * 1.8e-3);
  EXPECT_DOUBLE_EQ(learning_rate(linear, 100), 2e-4);
  const TrainPlan cosine = plan_of(LrSchedulerType::kCosine);
  EXPECT_NEAR(learning_rate(cosine, 40),
              2e-4 + 1.8e-3 * (1 + std::cos(std::numbers::pi / 3)) / 2, 1e-15);
  EXPECT_NEAR(learning_rate(cosine, 100), 2e-4, 1e-15);
  const TrainPlan wsd = plan_of(LrSchedulerType::kWsd);
  EXPECT_DOUBLE_EQ(learning_rate(wsd, 75), 2e-3);
  EXPECT_NEAR(learning_rate(wsd, 80), 2e-3 - 0.2 * 1.8e-3, 1e-15);
  EXPECT_NEAR(learning_rate(wsd, 100), 2e-4, 1e-15);
}

TEST(Schedule, WithoutAWarmUpTheFirstStepHasItsRate) {
  TrainPlan plan = plan_of(LrSchedulerType::kConstant);
  plan.warmup_steps = 0;
  EXPECT_EQ(learning_rate(plan, 1), 2e-3);
  plan.lr_scheduler_type = LrSchedulerType::kLinear;
  EXPECT_DOUBLE_EQ(learning_rate(plan, 1), 2e-3 - 0.01 * 1.8e-3);
}

// A phase that is all warm-up, a decay of no steps and one of all steps.
TEST(Schedule, HoldsAtTheEndsOfItsFields) {
  TrainPlan plan = plan_of(LrSchedulerType::kCosine);
  plan.warmup_steps = 200;
  EXPECT_EQ(learning_rate(plan, 100), 1e-3);
  plan = plan_of(LrSchedulerType::kWsd);
  plan.decay_ratio = 0;
  EXPECT_EQ(learning_rate(plan, 99), 2e-3);
  plan.decay_ratio = 1;
  plan.warmup_steps = 0;
  EXPECT_DOUBLE_EQ(learning_rate(plan, 50), 2e-3 - 0.5 * 1.8e-3);
}

}  // namespace
}  // namespace annuli::train
