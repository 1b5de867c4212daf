#include "annuli/study/study_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "annuli/core/error.h"
#include "annuli/study/study_for_tests.h"

namespace annuli::study {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string with(const std::string& before, const std::string& after) {
  std::string text = small_study();
  const size_t at = text.find(before);
  EXPECT_NE(at, std::string::npos) << before;
  return text.replace(at, before.size(), after);
}

std::string refusal_of(const std::string& yaml) {
  try {
    parse_study(yaml, "study.yaml");
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

TEST(StudyPlan, ReadsArmsThatShareAPlan) {
  const Study study = parse_study(small_study(), "study.yaml");
  EXPECT_EQ(study.name, "small");
  EXPECT_EQ(study.results, "runs/small/results.jsonl");
  ASSERT_EQ(study.arms.size(), 2);
  EXPECT_THAT(study.arms[0].rates, ElementsAre(1e-3, 1e-2));
  EXPECT_EQ(study.arms[1].rate_of, "scratch");
  EXPECT_THAT(points_of(study, study.arms[0]), ElementsAre(0.5, 1));
  EXPECT_THAT(seeds_of(study, study.arms[1]), ElementsAre(1, 2));
}

TEST(StudyPlan, QuickIsApart) {
  const Study study =
      parse_study(with("output_dir: runs/small", "results: kept.jsonl"),
                  "study.yaml", true);
  EXPECT_EQ(study.flops, 2e8);
  EXPECT_EQ(study.output_dir, "runs/studies/small-quick");
  EXPECT_EQ(study.results, "runs/studies/small-quick/results.jsonl");
}

TEST(StudyPlan, WhatCannotBeIsRefusedInOneLine) {
  const std::pair<std::pair<const char*, const char*>, const char*> kCases[] = {
      {{"baseline: scratch", "baseline: scrach"},
       "baseline: found 'scrach', expected an arm: scratch, stack, did you "
       "mean 'scratch'?"},
      {{"rate_of: scratch", "rate_of: stack"}, "has no rates of its own"},
      {{"rate_of: scratch", "rates: [1], rate_of: scratch"}, "study.yaml"},
      {{"name: stack", "name: scratch"}, "found two arms of one name"},
      {{"flops: 4.0e+8\n", ""}, "flops is missing"},
      {{"points: [0.5, 1]", "points: [0, 1]"}, "points.0: found '0'"},
      {{"  schedule: {warmup: 5%, decay: 20%}\n", ""}, "found no schedule"},
      {{"share: 1,", "max_steps: 3,"}, "found no phase with a share"},
      {{"flops: 4.0e+8", "flops: 10"}, "planning phase large: found a budget"},
      {{"seeds: [1, 2]", "seed: [1, 2]"},
       "unknown key 'seed', did you mean "
       "'seeds'"},
      {{"about: two", "abuot: two"}, "unknown key 'arms.1.abuot'"},
      {{"hidden_size: 16", "hiden_size: 16"}, "unknown key 'model.hiden_size'"},
  };
  for (const auto& [change, words] : kCases) {
    const std::string line = refusal_of(with(change.first, change.second));
    EXPECT_THAT(line, HasSubstr(words)) << change.second;
    EXPECT_EQ(line.find('\n'), std::string::npos) << line;
  }
}

}  // namespace
}  // namespace annuli::study
