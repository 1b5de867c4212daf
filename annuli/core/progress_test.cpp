#include "annuli/core/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <thread>

#include "annuli/core/say.h"
#include "tests/support/pseudo_terminal.h"

namespace annuli {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

ProgressLine line_of(int64_t done, int64_t total) {
  return {.label = "reading",
          .done = done,
          .total = total,
          .unit = ProgressUnit::kBytes,
          .seconds_left = 30};
}

TEST(Progress, LineShowsShareAmountsTimeLeftAndNote) {
  ProgressLine line = line_of(250, 1000);
  EXPECT_EQ(to_text(line),
            "reading  [######                  ]   25%  250 B of 1.00 kB  "
            "ETA 30.0 s");
  line.note = "loss 2.1";
  line.width = 100;
  EXPECT_THAT(to_text(line), EndsWith("ETA 30.0 s  loss 2.1"));
}

TEST(Progress, EndsAndExcessesAreCalm) {
  EXPECT_THAT(to_text(line_of(1200, 1000)),
              AllOf(HasSubstr("100%"), Not(HasSubstr("ETA"))));
  EXPECT_THAT(to_text(line_of(0, 1000)), HasSubstr("  0%"));
  EXPECT_EQ(to_text(line_of(7, 0)), "reading  7 B");
}

TEST(Progress, NoLineIsWiderThanTheTerminal) {
  for (const bool color : {false, true}) {
    for (int width = 0; width < 80; ++width) {
      ProgressLine line = line_of(250, 1000);
      line.width = width;
      line.color = color;
      std::string text = to_text(line);
      for (const std::string code : {"\033[32m", "\033[0m"}) {
        const size_t at = text.find(code);
        if (at != text.npos) text.erase(at, code.size());
      }
      EXPECT_LE(text.size(), width);
    }
  }
}

TEST(Progress, ColorOnlyWhenAsked) {
  ProgressLine line = line_of(1, 2);
  EXPECT_THAT(to_text(line), Not(HasSubstr("\033[")));
  line.color = true;
  EXPECT_THAT(to_text(line), HasSubstr("\033["));
}

// Past the first 100 ms, when a terminal gets its line.
void advance_late(Progress& progress) {
  std::this_thread::sleep_for(std::chrono::milliseconds(120));
  progress.advance();
}

TEST(Progress, SilentWithoutATerminal) {
  testing::internal::CaptureStderr();
  {
    Progress progress("x", 10);
    advance_late(progress);
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

constexpr bool kNoColor = false;
constexpr const char* kErase = "\r\033[K";

TEST(Progress, ALiveLineMakesWayForWhatIsSaidAndLeavesNoTrace) {
  const std::string text = test::on_a_terminal(kNoColor, [] {
    Progress progress("training", 10);
    advance_late(progress);
    say("step {}\n", 1);
    advance_late(progress);
  });
  EXPECT_THAT(text, HasSubstr("training  [##      "));
  EXPECT_THAT(text, HasSubstr(std::string("1 of 10  ETA ")));
  const size_t said = text.find("step 1");
  ASSERT_NE(said, text.npos);
  EXPECT_THAT(text.substr(0, said), EndsWith(kErase));
  EXPECT_THAT(text.substr(said), HasSubstr("2 of 10"));
  EXPECT_THAT(text, EndsWith(kErase));
}

TEST(Progress, TwoBarsShareOneLine) {
  const std::string text = test::on_a_terminal(kNoColor, [] {
    Progress outer("outer", 2);
    advance_late(outer);
    {
      Progress inner("inner", 2);
      advance_late(inner);
      outer.finish();
      std::fputs("still there", stderr);
    }
  });
  const size_t inner = text.find("inner");
  ASSERT_NE(inner, text.npos);
  EXPECT_THAT(text.substr(0, inner), EndsWith(kErase));
  EXPECT_LT(text.find("still there"), text.find(kErase, inner));
  EXPECT_THAT(text, EndsWith(kErase));
}

TEST(Progress, WhatWasDoneBeforeTakesNoTime) {
  const std::string text = test::on_a_terminal(kNoColor, [] {
    Progress progress("training", 1000, ProgressUnit::kSteps, 998);
    advance_late(progress);
  });
  EXPECT_THAT(text, HasSubstr(" 99%  999 of 1.00 K"));
  // One step took 0.12 s and one is left; 999 would leave next to nothing.
  EXPECT_THAT(text, HasSubstr("ETA 0.1 s"));
}

}  // namespace
}  // namespace annuli
