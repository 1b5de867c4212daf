#include "annuli/train/schedule_text.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace annuli::train {
namespace {

Plan plan_of(int64_t first_steps, int64_t second_steps) {
  Plan plan;
  for (const int64_t steps : {first_steps, second_steps}) {
    PhasePlan phase;
    phase.train.max_steps = steps;
    phase.train.learning_rate = 3e-3;
    plan.phases.push_back(phase);
  }
  return plan;
}

TEST(ScheduleText, NamesWhereARunsRateTurns) {
  Plan plan = plan_of(400, 400);
  plan.schedule = SchedulePlan{.warmup = "5%", .decay = "10%"};
  plan.phases[1].train.rewarm_steps = 20;
  EXPECT_EQ(schedule_text(plan),
            (std::vector<std::string>{
                "rises to 3.0e-03 by step 40, holds at 3.0e-03 to step 400",
                "rises to 3.0e-03 by step 20, holds at 3.0e-03 to step 320, "
                "falls to 0.0e+00 by step 400"}));
}

// A warm-up of 39.42 steps, and a decay from step 1576.8 on.
TEST(ScheduleText, ATurnBetweenStepsIsNamedOnce) {
  Plan plan = plan_of(1971, 1);
  plan.phases.pop_back();
  plan.schedule = SchedulePlan{.warmup = "2%", .decay = "20%"};
  EXPECT_EQ(schedule_text(plan)[0],
            "rises to 3.0e-03 by step 40, holds at 3.0e-03 to step 1576, falls "
            "to 0.0e+00 by step 1971");
}

TEST(ScheduleText, NamesWhereAPhasesOwnTurns) {
  Plan plan = plan_of(100, 1);
  plan.phases[0].train.warmup_steps = 10;
  plan.phases[0].train.lr_scheduler_type = LrSchedulerType::kCosine;
  plan.phases[0].train.min_lr_ratio = 0.1;
  EXPECT_EQ(schedule_text(plan),
            (std::vector<std::string>{
                "rises to 3.0e-03 by step 10, falls to 3.0e-04 by step 100",
                "holds at 3.0e-03 to step 1"}));
}

}  // namespace
}  // namespace annuli::train
