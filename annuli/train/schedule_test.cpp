#include "annuli/train/schedule.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <utility>

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

TEST(Schedule, WarmsUpOnceMoreFromZero) {
  TrainPlan plan = plan_of(LrSchedulerType::kConstant);
  plan.warmup_steps = 0;
  plan.rewarm_steps = 4;
  EXPECT_DOUBLE_EQ(learning_rate(plan, 1), 0.5e-3);
  EXPECT_DOUBLE_EQ(learning_rate(plan, 3), 1.5e-3);
  EXPECT_EQ(learning_rate(plan, 4), 2e-3);
  EXPECT_EQ(learning_rate(plan, 5), 2e-3);
}

TEST(Schedule, WhatGrowthAddedWarmsUpAlone) {
  TrainPlan plan = plan_of(LrSchedulerType::kConstant);
  plan.warmup_steps = 0;
  plan.rewarm_steps = 4;
  EXPECT_EQ(share_of_new(plan, 1), 1);
  plan.rewarm_of = RewarmOf::kNew;
  EXPECT_EQ(learning_rate(plan, 1), 2e-3);
  EXPECT_EQ(share_of_new(plan, 1), 0.25);
  EXPECT_EQ(share_of_new(plan, 4), 1);
  EXPECT_EQ(share_of_new(plan, 5), 1);
}

// Two phases of 100 and 50 steps; the second's have twice the tokens, so that
// the run is 200 steps of the first kind.
Plan run_of(SchedulePlan schedule) {
  Plan plan;
  plan.data.sequence_length = 8;
  plan.phases.resize(2);
  for (PhasePlan& phase : plan.phases) {
    phase.train.learning_rate = 2e-3;
    phase.train.batch_size = 4;
  }
  plan.phases[0].train.max_steps = 100;
  plan.phases[1].train.max_steps = 50;
  plan.phases[1].train.batch_size = 2;
  plan.phases[1].train.gradient_accumulation_steps = 4;
  plan.schedule = std::move(schedule);
  return plan;
}

double rate_in(const Plan& plan, size_t phase, int64_t step) {
  return learning_rate(plan.phases[phase].train, step,
                       place_in_run(plan, phase));
}

TEST(Schedule, RunsOverAllPhases) {
  const Plan plan = run_of(
      {.type = LrSchedulerType::kLinear, .warmup = "20", .min_lr_ratio = 0.5});
  EXPECT_DOUBLE_EQ(rate_in(plan, 0, 10), 1e-3);
  EXPECT_DOUBLE_EQ(rate_in(plan, 0, 20), 2e-3);
  EXPECT_DOUBLE_EQ(rate_in(plan, 0, 65), 2e-3 - 0.25 * 1e-3);
  EXPECT_DOUBLE_EQ(rate_in(plan, 1, 5), 2e-3 - 0.5 * 1e-3);
  EXPECT_DOUBLE_EQ(rate_in(plan, 1, 50), 1e-3);
}

// Steps of twice as many tokens because its windows are twice as long.
TEST(Schedule, KnowsThePhasesOwnLengthOfWindows) {
  Plan plan = run_of({.type = LrSchedulerType::kLinear, .warmup = "20"});
  plan.phases[1].train.batch_size = 4;
  plan.phases[1].train.gradient_accumulation_steps = 1;
  const auto short_place = *place_in_run(plan, 1);
  EXPECT_EQ(short_place.of_step, 32);
  EXPECT_EQ(short_place.end, 150 * 32);
  plan.phases[1].train.sequence_length = 16;
  EXPECT_EQ(window_length(plan, plan.phases[0].train), 8);
  EXPECT_EQ(window_length(plan, plan.phases[1].train), 16);
  const auto place = *place_in_run(plan, 1);
  EXPECT_EQ(place.of_step, 64);
  EXPECT_EQ(place.before, 100 * 32);
  EXPECT_EQ(place.end, 200 * 32);
}

TEST(Schedule, AmountsMeanStepsSharesAndTokens) {
  const double tokens = 200 * 32;
  const auto place = [](const char* warmup, const char* decay) {
    return *place_in_run(run_of({.warmup = warmup, .decay = decay}), 1);
  };
  EXPECT_EQ(place("0", "0").end, tokens);
  EXPECT_EQ(place("0", "0").before, tokens / 2);
  EXPECT_EQ(place("120", "0").warmup_end, 100 * 32 + 20 * 64);
  EXPECT_EQ(place("10%", "0").warmup_end, tokens / 10);
  EXPECT_EQ(place("64 tokens", "0").warmup_end, 64);
  EXPECT_EQ(place("0", "60 steps").decay_begin, tokens - 50 * 64 - 10 * 32);
  EXPECT_EQ(place("0", "25%").decay_begin, tokens * 0.75);
}

// A decay of 80 % would begin in the first phase.
TEST(Schedule, DoesNotDecayBeforeTheLastGrowth) {
  Plan plan = run_of({.decay = "80%"});
  EXPECT_LT(rate_in(plan, 0, 100), 2e-3);
  plan.phases[1].grow = GrowPlan();
  EXPECT_EQ(rate_in(plan, 0, 100), 2e-3);
  EXPECT_DOUBLE_EQ(rate_in(plan, 1, 25), 1e-3);
  EXPECT_EQ(rate_in(plan, 1, 50), 0);
}

TEST(Schedule, APhaseMayHaveItsOwn) {
  Plan plan = run_of({.warmup = "20"});
  plan.phases[0].train.schedule = ScheduleOf::kPhase;
  EXPECT_EQ(rate_in(plan, 0, 1), 2e-3);
  EXPECT_FALSE(place_in_run(plan, 0).has_value());
  EXPECT_TRUE(place_in_run(plan, 1).has_value());
}

}  // namespace
}  // namespace annuli::train
