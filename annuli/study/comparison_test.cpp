#include "annuli/study/comparison.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "annuli/core/folder_for_tests.h"
#include "annuli/study/study_for_tests.h"

namespace annuli::study {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// A study whose results are given.
class Comparison : public testing::Test {
 protected:
  void SetUp() override {
    add("scratch", 1, 1e-3, 1, 8.0);
    add("scratch", 1, 1e-2, 1, 7.0);
  }

  void add(const char* arm, int64_t seed, double rate, double point,
           std::optional<double> loss) {
    const Plan plan = arm_plan(study_, find_arm(study_, arm),
                               {.seed = seed, .rate = rate, .point = point});
    results_.add({.arm = arm,
                  .seed = seed,
                  .rate = rate,
                  .point = point,
                  .plan_hash = plan_hash(plan),
                  .flops = point * study_.flops,
                  .source_flops = arm == std::string("stack") ? 1e8 : 0,
                  .bits_per_byte = loss,
                  .failure = loss ? "" : "nan",
                  .seconds = 10});
  }

  ArmSummary summary_of(size_t arm) { return summarise(study_, runner_)[arm]; }

  const test::TestFolder scratch_;
  const fs::path& folder_ = scratch_.path();
  Study study_ = parse_study(small_study("x.txt", folder_.string()), "s.yaml");
  Results results_{fs::path(study_.results)};
  StudyRunner runner_{study_, results_, "s.yaml"};
};

TEST_F(Comparison, TheBestRateCounts) {
  EXPECT_EQ(runner_.best_rate(study_.arms[0]), 1e-2);
  EXPECT_EQ(runner_.best_rate(study_.arms[1]), 1e-2);
}

TEST_F(Comparison, ARateIsUnknownWhileATrialIsMissing) {
  Study longer = parse_study(small_study("x.txt", folder_.string()), "s.yaml");
  longer.arms[0].rates.push_back(1e-1);
  const StudyRunner runner(longer, results_, "s.yaml");
  EXPECT_EQ(runner.best_rate(longer.arms[0]), std::nullopt);
}

TEST_F(Comparison, ARunThatFailedIsNoBest) {
  Study other = parse_study(small_study("x.txt", folder_.string()), "s.yaml");
  add("scratch", 1, 1e-2, 1, std::nullopt);
  const StudyRunner runner(other, results_, "s.yaml");
  EXPECT_EQ(runner.best_rate(other.arms[0]), 1e-3);
}

// Differences 0.5 and 0.3: mean 0.4, deviation sqrt(0.02), t(1) = 12.706.
TEST_F(Comparison, DifferencesArePairedBySeed) {
  add("scratch", 2, 1e-2, 1, 7.2);
  add("stack", 1, 1e-2, 1, 7.5);
  add("stack", 2, 1e-2, 1, 7.5);
  const ArmSummary stack = summary_of(1);
  ASSERT_TRUE(stack.difference.has_value());
  EXPECT_NEAR(stack.difference->mean, 0.4, 1e-12);
  EXPECT_NEAR(stack.difference->half_width,
              12.706 * std::sqrt(0.02) / std::sqrt(2.0), 1e-12);
  EXPECT_FALSE(summary_of(0).difference.has_value());
  EXPECT_THAT(to_table(study_, summarise(study_, runner_)),
              HasSubstr("+0.4000 [-0.8706, +1.6706]"));
}

TEST_F(Comparison, AnUnpairedSeedDoesNotCount) {
  add("stack", 2, 1e-2, 1, 7.5);
  EXPECT_FALSE(summary_of(1).difference.has_value());
}

// From 8 at half of the operations to 7 at all of them: 7.5 at the geometric
// mean of the two.
TEST_F(Comparison, TargetsAreReachedBetweenPoints) {
  add("scratch", 1, 1e-2, 0.5, 8.0);
  const ArmSummary scratch = summary_of(0);
  ASSERT_EQ(scratch.curve.size(), 2);
  ASSERT_TRUE(scratch.reached[1].has_value());
  EXPECT_NEAR(scratch.reached[1]->flops, study_.flops * std::sqrt(0.5), 1);
  EXPECT_FALSE(scratch.reached[1]->at_most);
}

// The baseline ends at 7, which the other reaches from 8 to 6 at the geometric
// mean.
TEST_F(Comparison, TheBaselinesEndIsATarget) {
  add("scratch", 1, 1e-2, 0.5, 8.0);
  add("stack", 1, 1e-2, 0.5, 8.0);
  add("stack", 1, 1e-2, 1, 6.0);
  EXPECT_EQ(summary_of(0).reached[0]->flops, study_.flops);
  EXPECT_NEAR(summary_of(1).reached[0]->flops, study_.flops * std::sqrt(0.5),
              1);
}

// The baseline's second seed ended far ahead; the arm has the first alone.
TEST_F(Comparison, TheBaselinesEndIsThatOfTheArmsSeeds) {
  add("scratch", 2, 1e-2, 1, 5.0);
  add("stack", 1, 1e-2, 0.5, 8.0);
  add("stack", 1, 1e-2, 1, 6.0);
  EXPECT_NEAR(summary_of(1).reached[0]->flops, study_.flops * std::sqrt(0.5),
              1);
}

TEST_F(Comparison, ATargetReachedByTheFirstPointHasABound) {
  add("stack", 1, 1e-2, 0.5, 7.4);
  add("stack", 1, 1e-2, 1, 7.3);
  const auto reached = summary_of(1).reached[1];
  ASSERT_TRUE(reached.has_value());
  EXPECT_EQ(reached->flops, study_.flops / 2);
  EXPECT_TRUE(reached->at_most);
  EXPECT_THAT(to_table(study_, summarise(study_, runner_)),
              HasSubstr("<= 2e+08"));
}

TEST_F(Comparison, ATargetThatIsNotReachedHasNoCost) {
  add("stack", 1, 1e-2, 0.5, 8.0);
  add("stack", 1, 1e-2, 1, 7.6);
  EXPECT_FALSE(summary_of(1).reached[1].has_value());
}

TEST_F(Comparison, EveryFormHasTheArms) {
  add("stack", 1, 1e-2, 1, 7.5);
  const auto arms = summarise(study_, runner_);
  EXPECT_THAT(to_markdown(study_, arms), HasSubstr("| stack |"));
  const Json json = to_json(study_, arms);
  EXPECT_EQ(json["arms"][1]["arm"], "stack");
  EXPECT_EQ(json["arms"][1]["difference"]["mean"], 0.5);
  EXPECT_TRUE(json["arms"][1]["difference"]["half_width"].is_null());
}

}  // namespace
}  // namespace annuli::study
