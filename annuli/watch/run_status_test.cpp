#include "annuli/watch/run_status.h"

#include <gtest/gtest.h>

#include "annuli/report/small_run_for_tests.h"

namespace annuli::watch {
namespace {

std::string words_of(const RunFacts& facts) {
  return status_of(facts).at("words");
}

bool alerts(const RunFacts& facts) { return status_of(facts).at("alert"); }

TEST(RunStatus, ARunThatGoesOnHasNoWords) {
  EXPECT_EQ(words_of({}), "");
  EXPECT_FALSE(alerts({}));
}

TEST(RunStatus, WhatIsWrongComesFirst) {
  const RunFacts facts = {
      .finished = true, .failed = {"tensor_audit (moe)"}, .spike = 812};
  EXPECT_EQ(words_of(facts),
            "failed: tensor_audit (moe), spike at step 812, ended");
  EXPECT_TRUE(alerts(facts));
  EXPECT_EQ(words_of({.failed = {"a (x)", "b (x)", "c (y)"}}),
            "failed: 3 checks");
  EXPECT_EQ(words_of({.trouble = "reading x: cut"}), "cannot be read");
  EXPECT_EQ(status_of({.trouble = "reading x: cut"}).at("trouble"),
            "reading x: cut");
}

TEST(RunStatus, ToEndIsNoAlarm) {
  EXPECT_EQ(words_of({.finished = true}), "ended");
  EXPECT_FALSE(alerts({.finished = true}));
  // Nor does it stall.
  EXPECT_EQ(words_of({.finished = true, .quiet_seconds = 1e9}), "ended");
}

TEST(RunStatus, ItStallsAfterAMinuteOrThirtySteps) {
  EXPECT_EQ(words_of({.quiet_seconds = 59, .longest_step = 1}), "");
  EXPECT_EQ(words_of({.quiet_seconds = 61, .longest_step = 1}), "stalled");
  EXPECT_TRUE(alerts({.quiet_seconds = 61}));
  EXPECT_EQ(words_of({.quiet_seconds = 299, .longest_step = 10}), "");
  EXPECT_EQ(words_of({.quiet_seconds = 301, .longest_step = 10}), "stalled");
}

TEST(RunStatus, BetweenPhasesItMayTakeLonger) {
  RunFacts facts = {.quiet_seconds = 599, .between_phases = true};
  EXPECT_EQ(words_of(facts), "");
  facts.quiet_seconds = 601;
  EXPECT_EQ(words_of(facts), "stalled");
  facts.longest_growth = 1000;
  EXPECT_EQ(words_of(facts), "");
  facts.quiet_seconds = 3001;
  EXPECT_EQ(words_of(facts), "stalled");
}

class Facts : public testing::Test {
 protected:
  void add(int64_t number, const Json& more = {}) {
    run_.add(report::SmallRun::step(number, 3.0, more));
  }
  RunFacts facts(const Json& files = Json::object()) {
    report::Run run{.folder = run_.folder(),
                    .history = report::read_run_history(run_.history())};
    return facts_of(run, files);
  }
  report::SmallRun run_;
};

TEST_F(Facts, TheLastSpikeOfTheLastSteps) {
  for (int64_t i = 1; i <= 50; ++i) {
    add(i, i % 20 == 0 ? Json{{"loss_rise", 1.5}} : Json());
  }
  EXPECT_EQ(facts().spike, 40);
}

TEST_F(Facts, ASpikeIsNewsForAHundredSteps) {
  add(1, {{"loss_rise", 2.0}});
  for (int64_t i = 2; i <= 100; ++i) add(i);
  EXPECT_EQ(facts().spike, 1);
  add(101);
  EXPECT_EQ(facts().spike, std::nullopt);
}

TEST_F(Facts, TimesOfStepsAndGrowth) {
  add(1);  // 100 tokens at 100 a second
  add(2, {{"tokens_per_second", 20.0}});
  EXPECT_DOUBLE_EQ(facts().longest_step, 5);
  EXPECT_FALSE(facts().between_phases);
  run_.add({{"type", "phase"}, {"phase", "dense"}});
  EXPECT_TRUE(facts().between_phases);
  run_.add({{"type", "boundary"}, {"phase", "moe"}, {"seconds", 7.5}});
  EXPECT_TRUE(facts().between_phases);
  EXPECT_DOUBLE_EQ(facts().longest_growth, 7.5);
  run_.add(report::SmallRun::step(1, 3.0, {}, "moe"));
  EXPECT_FALSE(facts().between_phases);
}

TEST_F(Facts, FailedVerdictsAreNamedOnce) {
  add(1);
  const auto verdict = [](const char* check, const char* outcome) {
    return Json{{"check", check}, {"phase", "moe"}, {"outcome", outcome}};
  };
  const Json files = {
      {"finished", true},
      {"verdicts",
       {verdict("a", "fail"), verdict("a", "fail"), verdict("b", "allowed"),
        verdict("c", "advice"), verdict("d", "pass")}}};
  EXPECT_EQ(facts(files).failed, std::vector<std::string>{"a (moe)"});
  EXPECT_TRUE(facts(files).finished);
}

}  // namespace
}  // namespace annuli::watch
