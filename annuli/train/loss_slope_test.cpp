#include "annuli/train/loss_slope.h"

#include <gtest/gtest.h>

#include <cmath>

#include "annuli/core/rng.h"

namespace annuli::train {
namespace {

// 3 + 4 C^-0.3 at C = before + step, with normal noise.
double loss_at(double operations) { return 3 + 4 * std::pow(operations, -0.3); }

LossBins bins_of(int64_t steps, double deviation, const LossPlace& place,
                 uint64_t seed = 0) {
  const CounterRng rng(seed, "losses");
  LossBins bins;
  for (int64_t step = 1; step <= steps; ++step) {
    const double at = place.before + place.of_step * static_cast<double>(step);
    bins.add(loss_at(at) + deviation * rng.normal(static_cast<uint64_t>(step)));
  }
  return bins;
}

// What the curve falls by in its last doubling, so far as a line can say.
double fall_of_curve(double from, double to) {
  return (loss_at(from) - loss_at(to)) / std::log2(to / from);
}

TEST(LossSlope, IsTheFallOfTheLastDoubling) {
  const LossPlace place{.before = 0, .of_step = 1};
  for (const int64_t steps : {64, 300, 5000, 40000}) {
    const auto fit = fit_slope(bins_of(steps, 0, place), place);
    ASSERT_TRUE(fit.has_value());
    const auto last = static_cast<double>(steps);
    const double expected = fall_of_curve(last / 2, last);
    EXPECT_NEAR(fit->fall, expected, 0.02 * expected) << steps;
  }
}

// What a growth has spent before counts as operations.
TEST(LossSlope, OperationsOfPhasesBeforeCount) {
  const LossPlace place{.before = 3000, .of_step = 2};
  const auto fit = fit_slope(bins_of(400, 0, place), place);
  ASSERT_TRUE(fit.has_value());
  const double expected = fall_of_curve(3000, 3800);
  EXPECT_NEAR(fit->fall, expected, 0.02 * expected);
}

// Over many draws the fit's error is how far it lies from the truth.
TEST(LossSlope, TheErrorIsTheSpreadOfTheFits) {
  const LossPlace place{.before = 0, .of_step = 1};
  const auto truth = fit_slope(bins_of(1000, 0, place), place);
  double squares = 0;
  constexpr int kDraws = 200;
  for (int seed = 0; seed < kDraws; ++seed) {
    const auto fit = fit_slope(
        bins_of(1000, 0.1, place, static_cast<uint64_t>(seed)), place);
    const double off = (fit->fall - truth->fall) / fit->error;
    squares += off * off / kDraws;
  }
  // A mean of 200 squares of normals: a tenth is its standard deviation.
  EXPECT_NEAR(squares, 1, 0.4);
}

TEST(LossSlope, AFewLossesSayNothing) {
  const LossPlace place{.before = 0, .of_step = 1};
  EXPECT_FALSE(fit_slope(bins_of(2 * kFewestBins - 2, 0, place), place));
  EXPECT_TRUE(fit_slope(bins_of(2 * kFewestBins, 0, place), place));
}

TEST(LossSlope, NoiseThatHidesTheSlopeEndsNothing) {
  EXPECT_TRUE(falls_by_less({.fall = 0.02, .error = 0.01}, 0.05));
  EXPECT_FALSE(falls_by_less({.fall = 0.02, .error = 0.02}, 0.05));
  EXPECT_FALSE(falls_by_less({.fall = 0.06, .error = 0.001}, 0.05));
}

TEST(LossBins, StayFewAndKeepTheirMean) {
  LossBins bins;
  double sum = 0;
  constexpr int64_t kSteps = 3 * 1024;
  for (int64_t step = 0; step < kSteps; ++step) {
    const auto loss = static_cast<double>(step % 7);
    sum += loss;
    bins.add(loss);
    ASSERT_LT(bins.means.size(), LossBins::kMost);
  }
  EXPECT_EQ(bins.steps_of_bin, 16);
  EXPECT_EQ(bins.means.size(), kSteps / 16);
  double mean = 0;
  for (const double one : bins.means) mean += one / (kSteps / 16);
  EXPECT_NEAR(mean, sum / kSteps, 1e-12);
}

}  // namespace
}  // namespace annuli::train
