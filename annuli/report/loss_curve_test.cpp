#include "annuli/report/loss_curve.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "annuli/report/small_run_for_tests.h"

namespace annuli::report {
namespace {

using testing::HasSubstr;
using testing::Not;

RunHistory two_phases(SmallRun& run, const std::string& second) {
  for (int64_t step = 1; step <= 3; ++step) {
    run.add(SmallRun::step(step, 5));
  }
  run.add(SmallRun::step(1, 5, {}, second));
  run.add(SmallRun::step(2, 5, {}, second));
  return read_run_history(run.history());
}

// The points of the curve, "x,y" each.
std::vector<std::string> points_of(const std::string& svg) {
  const std::string begin = "points=\"";
  const size_t from = svg.find(begin) + begin.size();
  std::istringstream words(svg.substr(from, svg.find('"', from) - from));
  return {std::istream_iterator<std::string>(words), {}};
}

TEST(LossCurve, HasAPointForEachStepUpToThePhase) {
  SmallRun run;
  const RunHistory history = two_phases(run, "moe");
  EXPECT_EQ(points_of(loss_curve_svg(history, 0)).size(), 3);
  const std::string both = loss_curve_svg(history, 1);
  const auto points = points_of(both);
  ASSERT_EQ(points.size(), 5);
  // One fifth of the way from 48 to 632, and all of it.
  EXPECT_TRUE(points[0].starts_with("164.8,")) << points[0];
  EXPECT_TRUE(points[4].starts_with("632.0,")) << points[4];
  EXPECT_THAT(both, HasSubstr(">dense</text>"));
  EXPECT_THAT(both, HasSubstr(">moe</text>"));
  EXPECT_THAT(loss_curve_svg(history, 0), Not(HasSubstr(">moe</text>")));
}

TEST(LossCurve, AHigherLossStandsHigher) {
  SmallRun run;
  for (int64_t step = 1; step <= 6; ++step) {
    run.add(SmallRun::step(step, step <= 3 ? 6 : 2));
  }
  const auto points =
      points_of(loss_curve_svg(read_run_history(run.history()), 0));
  const auto y = [&](size_t i) {
    return std::stod(points[i].substr(points[i].find(',') + 1));
  };
  EXPECT_LT(y(0), y(5));
}

TEST(LossCurve, NoPhaseBecomesMarkupOrEndsTheElement) {
  SmallRun run;
  const std::string svg =
      loss_curve_svg(two_phases(run, "</text><b>&\n\n\""), 1);
  EXPECT_THAT(svg, HasSubstr("&lt;/text&gt;&lt;b&gt;&amp;  &quot;"));
  EXPECT_THAT(svg, Not(HasSubstr("\n\n")));
}

TEST(LossCurve, APhaseWithoutAStepHasNone) {
  SmallRun run;
  EXPECT_EQ(loss_curve_svg(two_phases(run, "moe"), 2), "");
}

}  // namespace
}  // namespace annuli::report
