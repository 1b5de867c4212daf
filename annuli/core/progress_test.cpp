#include "annuli/core/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace annuli {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Progress, LineShowsShareAmountsAndTimeLeft) {
  const std::string line =
      progress_line("reading", 250, 1000, ProgressUnit::kBytes, 10, false);
  EXPECT_EQ(line,
            "reading  [######                  ]   25%  250 B of 1.00 kB  "
            "ETA 30.0 s");
}

TEST(Progress, EndsAndExcessesAreCalm) {
  EXPECT_THAT(progress_line("x", 12, 10, ProgressUnit::kSteps, 1, false),
              testing::AllOf(HasSubstr("100%"), Not(HasSubstr("ETA"))));
  EXPECT_THAT(progress_line("x", 0, 10, ProgressUnit::kSteps, 1, false),
              testing::AllOf(HasSubstr("  0%"), Not(HasSubstr("ETA"))));
  EXPECT_EQ(progress_line("x", 7, 0, ProgressUnit::kSteps, 1, false), "x  7");
}

TEST(Progress, ColorOnlyWhenAsked) {
  EXPECT_THAT(progress_line("x", 1, 2, ProgressUnit::kSteps, 1, true),
              HasSubstr("\033["));
  EXPECT_THAT(progress_line("x", 1, 2, ProgressUnit::kSteps, 1, false),
              Not(HasSubstr("\033[")));
}

TEST(Progress, SilentWithoutATerminal) {
  testing::internal::CaptureStderr();
  {
    Progress progress("x", 10);
    // Past the first 100 ms, when a terminal would get its first line.
    std::this_thread::sleep_for(std::chrono::milliseconds(120));
    progress.advance();
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace annuli
