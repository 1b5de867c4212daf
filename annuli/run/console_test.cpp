#include "annuli/run/console.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "annuli/run/records.h"
#include "tests/support/pseudo_terminal.h"
#include "tests/support/tiny_model.h"

// What a run prints, line by line.
namespace annuli::run {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string printed(const std::function<void()>& by) {
  testing::internal::CaptureStdout();
  by();
  return testing::internal::GetCapturedStdout();
}

// Each text comes once in the life of a process: the quiet ones first.
TEST(Console, OnlyBf16OnAProcessorThatIsSlowAtItIsWarnedOf) {
  const auto warned = [](Precision precision, bool bf16_is_fast) {
    Plan plan;
    plan.precision = precision;
    testing::internal::CaptureStderr();
    warn_of_slow_numbers(plan, at::kCPU, bf16_is_fast);
    return testing::internal::GetCapturedStderr();
  };
  for (const bool fast : {true, false}) {
    EXPECT_EQ(warned(Precision::kFp32, fast), "");
    EXPECT_EQ(warned(Precision::kFp64, fast), "");
  }
  for (const Precision precision : {Precision::kBf16Mixed, Precision::kBf16}) {
    EXPECT_EQ(warned(precision, true), "");
    EXPECT_THAT(warned(precision, false), HasSubstr("warning: precision bf16"));
  }
}

TEST(Console, APhaseIsNamedWithItsShape) {
  Plan plan;
  plan.phases = {{.name = "dense"}, {.name = "moe"}};
  EXPECT_THAT(printed([&] { print_phase(plan, 0, tiny::config()); }),
              HasSubstr("\nphase 1/2  dense: 3 x 24, 4 heads, ffn 40: "));
  const ModelConfig mixture = tiny::config({.mixture = true});
  const std::string line = printed([&] { print_phase(plan, 1, mixture); });
  EXPECT_THAT(line, HasSubstr("\nphase 2/2  moe: 3 x 24, 4 heads, ffn 40, 4 "
                              "experts top-2: "));
  EXPECT_THAT(line, HasSubstr(" active) parameters\n"));
}

TEST(Console, AGrowthTellsItsJump) {
  grow::Recipe recipe;
  recipe.op = "widen";
  recipe.arguments = {{"factor", 2}};
  const Grown grown{.model = tiny::model(tiny::config(), at::kFloat),
                    .recipe = recipe,
                    .verdicts = {verify::at_most("norm", "of all", 0.5, 1)},
                    .loss_before = 4.5,
                    .loss_after = 4.25,
                    .seconds = 3};
  const std::string said = printed([&] { print_growth(grown); });
  EXPECT_THAT(said,
              HasSubstr("grown and proved in 3.0 s: widen {\"factor\":2}"));
  EXPECT_THAT(said, HasSubstr("norm"));
  EXPECT_THAT(said,
              HasSubstr("probe loss 4.500000 -> 4.250000, jump -2.50e-01"));
}

// One of each outcome, the worst last.
std::vector<verify::Verdict> one_of_each() {
  std::vector<verify::Verdict> verdicts = {
      verify::at_most("sound", "a", 0.5, 1), verify::at_most("odd", "b", 2, 1),
      verify::at_most("known", "c", 2, 1), verify::at_most("wrong", "d", 2, 1)};
  verdicts[1].is_advice = true;
  verify::allow(verdicts, {"known"});
  return verdicts;
}

TEST(Console, VerdictsAreCountedAndWhatFailsComesFirst) {
  const std::string said = printed([] { print_verdicts(one_of_each()); });
  EXPECT_EQ(said.find("  1 of 4 checks pass\n"), 0);
  EXPECT_LT(said.find("FAIL           wrong"),
            said.find("FAIL (allowed) known"));
  EXPECT_LT(said.find("FAIL (allowed) known"), said.find("warning        odd"));
  EXPECT_LT(said.find("warning        odd"), said.find("pass           sound"));
  EXPECT_EQ(printed([] { print_verdicts({}); }), "");
}

TEST(Console, OnlyATerminalGetsColors) {
  const auto print = [] { print_verdicts(one_of_each()); };
  const std::string colored = test::on_a_terminal(true, print);
  for (const char* word :
       {"\033[32mpass\033[0m  ", "\033[33mwarning\033[0m  ",
        "\033[33mFAIL\033[0m (allowed) ", "\033[1;31mFAIL\033[0m  "}) {
    EXPECT_THAT(colored, HasSubstr(word));
  }
  EXPECT_THAT(test::on_a_terminal(false, print), Not(HasSubstr("\033")));
  EXPECT_THAT(printed(print), Not(HasSubstr("\033")));
}

TEST(Console, ARollbackTellsFromWhereToWhere) {
  const Json line = {{"reason", "it rose"}, {"rollbacks", 2},
                     {"phase", "moe"},      {"to_step", 4},
                     {"to_phase", "dense"}, {"lr_factor", 0.25}};
  EXPECT_EQ(printed([&] { print_rollback(line); }),
            "  it rose\n  ROLLBACK 2 of phase moe: back to step 4 of phase "
            "dense, learning rate times 0.25\n");
}

train::StepRecord step(int64_t number) {
  return {.step = number,
          .loss = 3.25,
          .grad_norm = 1.5,
          .learning_rate = 2e-3,
          .tokens = 64};
}

// Every fourth step, the last one, and none but those; what is left is the mean
// of the steps of this process times the steps to come.
TEST(StepLines, AreEveryFewStepsWithTheTimeThatIsLeft) {
  StepLines lines("moe", 3, 10, 4);
  std::vector<std::string> said;
  for (int64_t number = 3; number <= 10; ++number) {
    said.push_back(printed([&] { lines.print(step(number), 2); }));
  }
  EXPECT_EQ(said[0], "");
  // Steps 3 and 4 took two seconds each, six are left.
  EXPECT_EQ(said[1],
            "  step  4/10  loss 3.2500  grad 1.5  lr 2.00e-03  32 tok/s  ETA "
            "12.0 s\n");
  for (const size_t quiet : {2, 3, 4, 6}) EXPECT_EQ(said[quiet], "") << quiet;
  EXPECT_THAT(said[5], HasSubstr("step  8/10"));
  EXPECT_THAT(said[5], HasSubstr("ETA 4.0 s"));
  EXPECT_THAT(said[7], HasSubstr("step 10/10"));
  EXPECT_THAT(said[7], HasSubstr("ETA 0.0 s"));
}

TEST(StepLines, ASpikeIsShownWheneverItComes) {
  StepLines lines("moe", 1, 10, 4);
  train::StepRecord record = step(2);
  record.loss_rise = 0.75;
  record.load = {{6, 2}, {8, 0}};
  EXPECT_THAT(printed([&] { lines.print(record, 2); }),
              HasSubstr("lr 2.00e-03  SPIKE +0.75  load 1.75  32 tok/s"));
  record.epochs = {1.375};
  EXPECT_THAT(printed([&] { lines.print(record, 2); }),
              HasSubstr("lr 2.00e-03  epoch 1.38  SPIKE +0.75"));
}

}  // namespace
}  // namespace annuli::run
