#include "annuli/study/advice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "annuli/core/folder_for_tests.h"
#include "annuli/study/arm_plan.h"
#include "annuli/study/study_for_tests.h"

namespace annuli::study {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// Of a run that has spent a quarter of what it may, along 2 + 3 C^-0.2.
RunSoFar run_of(double parameters, double all_flops) {
  RunSoFar run{.phase = "small",
               .step = 100,
               .parameters = {.total = static_cast<int64_t>(parameters),
                              .active = static_cast<int64_t>(parameters)},
               .flops = all_flops / 4,
               .all_flops = all_flops,
               .until = 0.8 * all_flops};
  for (int i = 1; i <= 500; ++i) {
    const double flops = run.flops * i / 500;
    run.steps.push_back({flops, 2 + 3 * std::pow(flops / all_flops, -0.2)});
  }
  return run;
}

class AdviceTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string text = small_study("x.txt", folder_.string());
    text.insert(text.find("  - name: stack"), kSmall);
    study_ = parse_study(text, "s.yaml");
    add("small", 1, 8.0);
    add("small", 2, 8.2);
    add("stack", 1, 7.9);
    add("stack", 2, 8.0);
    add("scratch", 1, 1e-2, 7.8);
    add("scratch", 1, 1e-3, 7.9);
  }

  void add(const char* arm, int64_t seed, double loss) {
    add(arm, seed, 1e-2, loss);
  }
  void add(const char* arm, int64_t seed, double rate, double loss) {
    const Plan plan =
        arm_plan(study_, find_arm(study_, arm), {.seed = seed, .rate = rate});
    Results results{fs::path(study_.results)};
    results.add({.arm = arm,
                 .seed = seed,
                 .rate = rate,
                 .plan_hash = plan_hash(plan),
                 .bits_per_byte = loss});
  }

  std::vector<Growing> growing_of(const RunSoFar& run) {
    Results results{fs::path(study_.results)};
    const StudyRunner runner(study_, results, "s.yaml");
    return growing(study_, runner, run);
  }

  static constexpr const char* kSmall = R"(  - name: small
    about: two layers to the end
    rate_of: scratch
    plan: {model: {num_hidden_layers: 2}}
)";
  const test::TestFolder scratch_;
  const fs::path& folder_ = scratch_.path();
  Study study_;
};

TEST_F(AdviceTest, GrowingIsComparedWithTheModelThatGoesOn) {
  const std::vector<Growing> grown = growing_of(run_of(6e3, study_.flops));
  ASSERT_EQ(grown.size(), 1);
  EXPECT_EQ(grown[0].arm, "stack");
  EXPECT_NEAR(grown[0].share, 0.25, 0.01);
  EXPECT_EQ(grown[0].difference.count, 2);
  EXPECT_NEAR(grown[0].difference.mean, -0.15, 1e-12);
  EXPECT_EQ(grown[0].doubt, "");
}

TEST_F(AdviceTest, OfAnotherSizeOrLengthItDoesNotKnow) {
  EXPECT_THAT(growing_of(run_of(6e6, study_.flops))[0].doubt,
              HasSubstr("not known for 6.00 M active parameters"));
  EXPECT_THAT(growing_of(run_of(6e3, 100 * study_.flops))[0].doubt,
              HasSubstr("not known for 4e+10 operations"));
}

TEST_F(AdviceTest, ACurveIsFollowedToTheDecay) {
  const RunSoFar run = run_of(6e3, 1e12);
  const GoingOn on = going_on(run);
  ASSERT_TRUE(on.loss.has_value());
  // A mean over a bin lies above the curve in its middle.
  EXPECT_NEAR(on.loss->mean, 2 + 3 * std::pow(0.8, -0.2), 0.01);
}

TEST_F(AdviceTest, WhatCannotBeSeenIsNotKnown) {
  RunSoFar run = run_of(6e3, 1e12);
  run.is_decaying = true;
  EXPECT_THAT(going_on(run).doubt, HasSubstr("rate is decaying"));
  run = run_of(6e3, 1e12);
  run.flops = 1e10;
  EXPECT_THAT(going_on(run).doubt, HasSubstr("too few to see so far"));
  run = run_of(6e3, 1e12);
  run.steps.resize(30);
  EXPECT_THAT(going_on(run).doubt, HasSubstr("too few steps"));
  EXPECT_THAT(to_text(run, going_on(run), {}), HasSubstr("no study"));
}

}  // namespace
}  // namespace annuli::study
