#include "annuli/report/run_history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "annuli/core/error.h"
#include "annuli/report/small_run_for_tests.h"

namespace annuli::report {
namespace {

TEST(RunHistory, SumsTokensAndSecondsOverPhases) {
  SmallRun run;
  run.add(SmallRun::step(1, 3.0));
  run.add(SmallRun::step(2, 2.5));
  run.add({{"type", "boundary"}, {"phase", "moe"}, {"seconds", 7.0}});
  run.add(SmallRun::step(1, 2.4, {{"tokens", 50}}, "moe"));
  const RunHistory history = read_run_history(run.history());
  EXPECT_THAT(history.phases, testing::ElementsAre("dense", "moe"));
  EXPECT_THAT(history.steps.tokens, testing::ElementsAre(100, 200, 250));
  EXPECT_THAT(history.steps.seconds, testing::ElementsAre(1, 2, 9.5));
  EXPECT_THAT(history.steps.phase, testing::ElementsAre(0, 0, 1));
  ASSERT_EQ(history.boundaries.size(), 1u);
  EXPECT_EQ(history.boundaries[0].steps_before, 2u);
  EXPECT_FALSE(history.torn);
}

TEST(RunHistory, SmoothsWithinAPhaseOnly) {
  SmallRun run;
  for (int64_t i = 1; i <= 50; ++i) run.add(SmallRun::step(i, 8.0));
  for (int64_t i = 1; i <= 50; ++i) run.add(SmallRun::step(i, 2.0, {}, "moe"));
  const RunHistory history = read_run_history(run.history());
  const std::vector<double>& smooth = history.steps.columns[kSmoothLoss];
  // A weighted mean of equal numbers is that number, up to its rounding.
  EXPECT_NEAR(smooth[49], 8.0, 1e-12);
  EXPECT_NEAR(smooth[50], 2.0, 1e-12);
}

TEST(RunHistory, LineByLineItIsTheSame) {
  SmallRun run;
  RunHistory live;
  const auto lines = history_lines(run.history(), live);
  const auto add = [&](const Json& line) {
    run.add(line);
    lines->add(line);
  };
  // Across steps at which the mean is of more steps, and a seam.
  for (int64_t i = 1; i <= 500; ++i) {
    add(SmallRun::step(i, 3 + 1.0 / static_cast<double>(i)));
    const size_t before = live.steps.columns[kSmoothLoss].size();
    const size_t changed = lines->smooth();
    EXPECT_LE(changed, before);
    if (i % 50 != 0) continue;
    const RunHistory whole = read_run_history(run.history());
    EXPECT_EQ(live.steps.columns[kSmoothLoss],
              whole.steps.columns[kSmoothLoss]);
  }
  for (int64_t i = 1; i <= 90; ++i) {
    add(SmallRun::step(i, 2 + 1.0 / static_cast<double>(i), {}, "moe"));
    if (i % 7 == 0) lines->smooth();
  }
  EXPECT_GE(lines->smooth(), 500u) << "what is of another phase stays";
  EXPECT_EQ(lines->smooth(), 590u) << "nothing is new";
  const RunHistory whole = read_run_history(run.history());
  EXPECT_EQ(live.steps.columns[kSmoothLoss], whole.steps.columns[kSmoothLoss]);
  EXPECT_EQ(live.steps.seconds, whole.steps.seconds);
}

TEST(RunHistory, ALineThatIsRefusedLeavesNothing) {
  RunHistory history;
  const auto lines = history_lines("history", history);
  lines->add(SmallRun::step(1, 3.0, {{"expert_load", {{1, 2}}}}));
  for (const Json& bad : std::vector<Json>{{{"loss", "low"}},
                                           {{"loss", nullptr}},
                                           {{"step", 1.5}},
                                           {{"expert_load", {{1, 2, 3}}}},
                                           {{"tokens", -1}}}) {
    EXPECT_THROW(lines->add(SmallRun::step(2, 3.0, bad)), UserError) << bad;
    EXPECT_EQ(history.steps.size(), 1u);
    EXPECT_EQ(history.steps.tokens.size(), 1u);
    for (uint8_t column = 0; column < kSmoothLoss; ++column) {
      EXPECT_EQ(history.steps.columns[column].size(), 1u) << int(column);
    }
  }
  lines->add(SmallRun::step(2, 3.0));
  EXPECT_THAT(history.steps.tokens, testing::ElementsAre(100, 200));
  EXPECT_THAT(history.steps.seconds, testing::ElementsAre(1, 2));
}

TEST(RunHistory, EntropyIsOneWhereExpertsAreEven) {
  SmallRun run;
  run.add(SmallRun::step(1, 2.0, {{"expert_load", {{5, 5, 5, 5}}}}));
  run.add(SmallRun::step(2, 2.0, {{"expert_load", {{10, 10, 0, 0}}}}));
  const RunHistory history = read_run_history(run.history());
  EXPECT_NEAR(history.steps.columns[kLoadEntropy][0], 1.0, 1e-12);
  EXPECT_NEAR(history.steps.columns[kLoadEntropy][1], 0.5, 1e-12);
}

TEST(RunHistory, NormsByDepthAreThoseOfMeasuredSteps) {
  SmallRun run;
  run.add(SmallRun::step(1, 2.0,
                         {{"update_ratio", 0.5},
                          {"weight_rms", {1.0, 2.0}},
                          {"stream_rms", {3.0, nullptr}}}));
  run.add(SmallRun::step(2, 2.0));
  run.add(SmallRun::step(3, 2.0, {{"weight_rms", {5.0, 6.0}}}));
  const RunHistory history = read_run_history(run.history());
  EXPECT_EQ(history.steps.columns[kUpdateRatio][0], 0.5);
  EXPECT_TRUE(std::isnan(history.steps.columns[kUpdateRatio][1]));
  ASSERT_EQ(history.depths.size(), 2u);
  EXPECT_EQ(history.depths[1].step, 2u);
  EXPECT_THAT(history.depths[1].weight_rms, testing::ElementsAre(5, 6));
  EXPECT_EQ(history.depths[0].stream_rms[0], 3);
  EXPECT_TRUE(std::isnan(history.depths[0].stream_rms[1]));
}

TEST(RunHistory, OfVeryManyMeasuredStepsSomeAreKept) {
  SmallRun run;
  std::string text;
  for (int64_t i = 1; i <= 10000; ++i) {
    text += SmallRun::step(i, 2.0, {{"weight_rms", {double(i)}}}).dump() + "\n";
  }
  run.write_history(text);
  const RunHistory history = read_run_history(run.history());
  EXPECT_LE(history.depths.size(), 4000u);
  EXPECT_GE(history.depths.size(), 1000u);
  const size_t distance = history.depths[1].step;
  for (size_t i = 0; i < history.depths.size(); ++i) {
    EXPECT_EQ(history.depths[i].step, i * distance);
    EXPECT_EQ(history.depths[i].weight_rms[0], double(i * distance + 1));
  }
}

TEST(RunHistory, WhatWasNotRecordedIsNotANumber) {
  SmallRun run;
  run.add({{"type", "step"},
           {"phase", "old"},
           {"step", 1},
           {"loss", 2.0},
           {"tokens", 8}});
  const RunHistory history = read_run_history(run.history());
  EXPECT_TRUE(std::isnan(history.steps.columns[kGradNorm][0]));
  EXPECT_EQ(history.steps.seconds[0], 0);
}

TEST(RunHistory, ATornLastLineIsLeftOutAndSaid) {
  SmallRun run;
  run.write_history(SmallRun::step(1, 2.0).dump() + "\n{\"type\":\"st");
  const RunHistory history = read_run_history(run.history());
  EXPECT_EQ(history.steps.size(), 1u);
  EXPECT_TRUE(history.torn);
}

struct Bad {
  const char* name;
  std::string text;  // of the history; `@` is a good line
  const char* says;
};

class BadHistories : public testing::TestWithParam<Bad> {};

TEST_P(BadHistories, AreRefusedWithTheLine) {
  SmallRun run;
  std::string text = GetParam().text;
  for (size_t at = 0; (at = text.find('@', at)) != text.npos;) {
    text.replace(at, 1, SmallRun::step(1, 2.0).dump() + "\n");
  }
  run.write_history(text);
  try {
    read_run_history(run.history());
    FAIL() << "was taken";
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr(GetParam().says));
    EXPECT_THAT(error.what(), testing::Not(testing::HasSubstr("\n")));
  }
}

// A step with something in place of what belongs there.
std::string with(const char* key, const Json& value) {
  return "@" + SmallRun::step(2, 2.0, {{key, value}}).dump() + "\n";
}

std::string without(const char* key) {
  Json line = SmallRun::step(2, 2.0);
  line.erase(key);
  return "@" + line.dump() + "\n";
}

const Bad kBad[] = {
    {"Empty", "", "no step yet"},
    {"OnlyATornLine", "{\"type\"", "only the beginning"},
    {"OnlyEvents",
     R"({"type":"evaluation","phase":"a","eval_loss":1})"
     "\n",
     "no step yet"},
    {"NotJson", "@nonsense\n", "line 2 is not JSON"},
    {"Binary", std::string("@\0\1\2\n", 5), "line 2 is not JSON"},
    {"NotUtf8", "@{\"type\":\"\xff\"}\n", "line 2 is not JSON"},
    {"EmptyLine", "@\n@", "line 2 is not JSON"},
    {"Array", "@[1, 2]\n", "line 2: it is no object"},
    {"Number", "@17\n", "line 2: it is no object"},
    {"TooDeep", "@" + std::string(9999, '[') + "\n", "line 2 is not JSON"},
    {"NoType", without("type"), "line 2: expected a text in 'type'"},
    {"TypeIsANumber", with("type", 5), "expected a text in 'type'"},
    {"NoPhase", without("phase"), "line 2: expected a text in 'phase'"},
    {"PhaseIsAList", with("phase", {1}), "expected a text in 'phase'"},
    {"NoLoss", without("loss"), "line 2: expected a number in 'loss'"},
    {"LossIsNull", with("loss", Json()), "expected a number in 'loss'"},
    {"LossIsAText", with("loss", "<script>"), "found '\"<script>\"'"},
    {"LossIsTooLarge", "@{\"type\":\"step\",\"loss\":1e999}\n",
     "line 2 is not JSON"},
    {"LossIsBeyondMeasure", with("loss", 1e300), "a number in 'loss'"},
    {"LoadIsBeyondMeasure", with("expert_load", {{1e300, 1}}),
     "as many experts"},
    {"NoStep", without("step"), "expected a whole number in 'step'"},
    {"StepIsAFraction", with("step", 1.5), "expected a whole number in 'step'"},
    {"StepIsTooLarge", with("step", 18446744073709551615u),
     "expected a whole number in 'step'"},
    {"NoTokens", without("tokens"), "expected a number above 0 in 'tokens'"},
    {"NegativeTokens", with("tokens", -5), "above 0 in 'tokens'"},
    {"TokensAreATruth", with("tokens", true), "a number in 'tokens'"},
    {"NormIsAnObject", with("grad_norm", Json::object()),
     "a number in 'grad_norm'"},
    {"LoadIsAText", with("expert_load", "all"), "[layer][expert]"},
    {"LoadIsFlat", with("expert_load", {1, 2}), "[layer][expert]"},
    {"LoadIsEmpty", with("expert_load", Json::array()), "as many experts"},
    {"LoadHasAnEmptyLayer", with("expert_load", Json::array({Json::array()})),
     "as many experts"},
    {"LoadIsRagged", with("expert_load", {{1, 2}, {3}}), "as many experts"},
    {"LoadIsNegative", with("expert_load", {{1, -2}}), "as many experts"},
    {"LoadChangesItsShape",
     with("expert_load", {{1, 2}}) + with("expert_load", {{1, 2, 3}}),
     "as many experts"},
    {"NormsAreAWord", with("weight_rms", "all"),
     "a number for each layer in 'weight_rms'"},
    {"NormsHoldAWord", with("stream_rms", {1, "x"}),
     "a number for each layer in 'stream_rms'"},
    {"NormsAreBeyondMeasure", with("stream_rms", {1e300}),
     "a number for each layer in 'stream_rms'"},
    {"RatioIsAText", with("update_ratio", "x"), "a number in 'update_ratio'"},
    {"BoundaryTookAWord",
     "@{\"type\":\"boundary\",\"phase\":\"b\",\"seconds\":\"long\"}\n",
     "line 2: expected a number in 'seconds'"},
};

INSTANTIATE_TEST_SUITE_P(All, BadHistories, testing::ValuesIn(kBad),
                         [](const auto& bad) { return bad.param.name; });

TEST(RunHistory, MorePhasesThanCanBeShownAreRefused) {
  SmallRun run;
  std::string text;
  for (int i = 0; i < 1001; ++i) {
    text += SmallRun::step(1, 2.0, {}, std::to_string(i)).dump() + "\n";
  }
  run.write_history(text);
  EXPECT_THROW(read_run_history(run.history()), UserError);
}

}  // namespace
}  // namespace annuli::report
