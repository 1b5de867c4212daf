#include "annuli/report/markdown_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "annuli/report/run_data.h"
#include "annuli/report/small_run_for_tests.h"

namespace annuli::report {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string report_of(const SmallRun& run) {
  return markdown_report(page_data({run.folder()}));
}

Json verdict(const std::string& aspect, bool passed) {
  return {{"check", "odd"},  {"aspect", aspect}, {"passed", passed},
          {"measured", 0.5}, {"limit", 0.25},    {"at_least", false}};
}

TEST(MarkdownReport, TellsAPhaseByItsFirstLastAndHeldOutLoss) {
  SmallRun run;
  run.add(SmallRun::step(1, 5.5));
  run.add(SmallRun::step(2, 4.5));
  run.add({{"type", "evaluation"},
           {"phase", "dense"},
           {"step", 2},
           {"eval_loss", 4.25},
           {"bits_per_byte", 6.125}});
  run.add(SmallRun::step(1, 4.0, {}, "moe"));
  run.add(SmallRun::step(2, 3.0, {}, "moe"));
  const std::string text = report_of(run);
  EXPECT_THAT(text, HasSubstr("| dense | - | - | - | 2 of - | 5.5000 -> 4.5000 "
                              "| 4.2500 | 6.125 | 100 |"));
  EXPECT_THAT(text, HasSubstr("| moe | - | - | - | 2 of - | 4.0000 -> 3.0000 | "
                              "- | - | 100 |"));
  EXPECT_THAT(text, HasSubstr("Not finished: 4 steps, 400 tokens, 4.0 s."));
}

TEST(MarkdownReport, WhatFailedStandsOpenAndTheRestIsFolded) {
  SmallRun run;
  run.add(SmallRun::step(1, 5.5));
  run.write("verify/dense.json",
            Json({{"growth", {verdict("bad", false), verdict("good", true)}}})
                .dump());
  const std::string text = report_of(run);
  EXPECT_THAT(text, HasSubstr("Checks that pass: 1 of 2, **1 failed**."));
  const size_t bad =
      text.find("| dense | odd | bad | 0.5 | at most 0.25 | fail");
  const size_t folded = text.find("<summary>1 checks that pass</summary>");
  const size_t good = text.find("| dense | odd | good |");
  ASSERT_NE(good, text.npos);
  EXPECT_LT(bad, folded);
  EXPECT_LT(folded, good);
}

TEST(MarkdownReport, SeveralRunsAreComparedAtEqualCost) {
  SmallRun one;
  SmallRun two;
  for (int64_t step = 1; step <= 3; ++step) {
    one.add(SmallRun::step(step, 5));
    two.add(SmallRun::step(step, 4));
  }
  const std::string text =
      markdown_report(page_data({one.folder(), two.folder()}));
  EXPECT_THAT(text, HasSubstr("| tokens | 300 | 5.0000 | 4.0000 (-1.0000) |"));
}

TEST(MarkdownReport, WhatIsInARunIsNoMarkup) {
  SmallRun run;
  const std::string phase = "<script>|`[x](y)";
  run.add(SmallRun::step(1, 5.5, {}, phase));
  run.add({{"type", "boundary"},
           {"phase", phase},
           {"operator", "wi`den"},
           {"arguments", {{"a", "</details>"}}},
           {"jump", 1e-7}});
  const std::string text = report_of(run);
  EXPECT_THAT(text, Not(HasSubstr("<script>")));
  EXPECT_THAT(text, HasSubstr(R"(\<script\>\|\`\[x\](y))"));
  EXPECT_THAT(text, HasSubstr("``wi`den {"));
}

}  // namespace
}  // namespace annuli::report
