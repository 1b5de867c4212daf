#include "annuli/train/step_share.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "annuli/core/error.h"

namespace annuli::train {
namespace {

using testing::HasSubstr;

TEST(StepShare, ProcessesTakeThePassesInTheirOrder) {
  TrainPlan train;
  train.batch_size = 24;
  train.micro_batch_size = 3;
  train.gradient_accumulation_steps = 2;
  int64_t next = 0;
  for (int64_t rank = 0; rank < 4; ++rank) {
    const StepWindows windows = StepShare(train, rank, 4).windows();
    EXPECT_EQ(windows.first, next);
    EXPECT_EQ(windows.in_step, 48);
    EXPECT_EQ(windows.in_pass, 3);
    EXPECT_EQ(windows.passes, 4);
    next += windows.passes * windows.in_pass;
  }
  EXPECT_EQ(next, 48);
}

std::string refusal(const std::function<void(Plan&)>& change,
                    int64_t processes) {
  Plan plan;
  plan.name = "try";
  for (const char* name : {"dense", "moe"}) {
    PhasePlan& phase = plan.phases.emplace_back();
    phase.name = name;
    phase.train.batch_size = 8;
    phase.train.micro_batch_size = 2;
  }
  change(plan);
  try {
    require_shareable(plan, processes);
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

TEST(StepShare, IsRefusedInOneLineForAllPhases) {
  const auto nothing = [](Plan&) {};
  for (const int64_t processes : {1, 2, 4}) {
    EXPECT_EQ(refusal(nothing, processes), "");
  }
  const std::string both = refusal(nothing, 8);
  EXPECT_THAT(both,
              HasSubstr("sharing phase dense among 8 processes: its batch has "
                        "4 parts, expected a multiple of 8; set "
                        "phases.dense.train.micro_batch_size to 1"));
  EXPECT_THAT(both, HasSubstr("; sharing phase moe among 8 processes"));
  EXPECT_EQ(both.find('\n'), std::string::npos);
  EXPECT_THAT(
      refusal([](Plan& p) { p.phases[1].train.micro_batch_size = {}; }, 2),
      HasSubstr("sharing phase moe among 2 processes: its batch has 1 "
                "part, expected a multiple of 2; set "
                "phases.moe.train.micro_batch_size to 4"));
  EXPECT_THAT(refusal(
                  [](Plan& p) {
                    TrainPlan& train = p.phases[0].train;
                    train.micro_batch_size = {};
                    train.max_grad_norm = 1;
                    train.clip = ClipNorm::kTwoPass;
                  },
                  4),
              HasSubstr("micro_batch_size to 2 and phases.dense.train.clip to "
                        "whole"));
  EXPECT_THAT(refusal([](Plan& p) { p.phases[0].train.batch_size = 6; }, 4),
              HasSubstr("set phases.dense.train.batch_size to 8 and "
                        "phases.dense.train.micro_batch_size to 2"));
  EXPECT_THAT(refusal(nothing, 6),
              HasSubstr("found 6 processes, expected a power of two; start 4 "
                        "or 8"));
}

}  // namespace
}  // namespace annuli::train
