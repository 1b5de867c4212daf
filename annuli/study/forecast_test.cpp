#include "annuli/study/forecast.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "annuli/core/rng.h"

namespace annuli::study {
namespace {

double curve(double flops, double exponent) {
  return 2 + 3 * std::pow(flops, -exponent);
}

// 64 points up to 1e3 of something, with normal noise.
std::vector<LossPoint> points_of(double exponent, double deviation,
                                 uint64_t seed) {
  const CounterRng rng(seed, "forecast");
  std::vector<LossPoint> points;
  constexpr int kPoints = 64;
  for (int i = 0; i < kPoints; ++i) {
    const double flops = 125 + 875 * (i + 0.5) / kPoints;
    points.push_back(
        {flops, curve(flops, exponent) +
                    deviation * rng.normal(static_cast<uint64_t>(i))});
  }
  return points;
}

TEST(LossForecast, WithoutNoiseItIsTheCurve) {
  for (const double exponent : {0.1, 0.3, 0.8}) {
    const auto forecast = LossForecast::of(points_of(exponent, 0, 0));
    ASSERT_TRUE(forecast.has_value());
    const Forecast at = forecast->at(4000);
    // Half a step of the grid of exponents (2.5 %) is the error.
    EXPECT_NEAR(at.mean, curve(4000, exponent), 1e-3) << exponent;
  }
}

// Of 300 draws 95 % should hold the truth; 3 deviations of a share of 300 lie
// 3.8 % beside that, and the grid's prior is not the truth's.
TEST(LossForecast, TheIntervalHoldsTheTruth) {
  for (const double exponent : {0.15, 0.4}) {
    int held = 0;
    constexpr int kDraws = 300;
    for (int seed = 0; seed < kDraws; ++seed) {
      const auto forecast = LossForecast::of(
          points_of(exponent, 0.02, static_cast<uint64_t>(seed)));
      const Forecast at = forecast->at(4000);
      EXPECT_LT(at.low, at.mean);
      EXPECT_LT(at.mean, at.high);
      const double truth = curve(4000, exponent);
      held += at.low <= truth && truth <= at.high ? 1 : 0;
    }
    EXPECT_GE(held, kDraws * 88 / 100) << exponent;
  }
}

// It says less of what is farther away, and more of what it has seen.
TEST(LossForecast, TheIntervalWidensWithDistance) {
  const auto forecast = LossForecast::of(points_of(0.3, 0.02, 1));
  const auto width = [&](double flops) {
    const Forecast at = forecast->at(flops);
    return at.high - at.low;
  };
  EXPECT_LT(width(500), width(2000));
  EXPECT_LT(width(2000), width(8000));
}

// Neighbours that err alike are fewer points than they seem.
TEST(LossForecast, CorrelatedNoiseWidensIt) {
  std::vector<LossPoint> apart = points_of(0.3, 0.02, 1);
  std::vector<LossPoint> alike = apart;
  for (size_t i = 1; i < alike.size(); i += 2) {
    alike[i].loss = alike[i - 1].loss - curve(alike[i - 1].flops, 0.3) +
                    curve(alike[i].flops, 0.3);
  }
  const auto width = [](const std::vector<LossPoint>& points) {
    const Forecast at = LossForecast::of(points)->at(2000);
    return at.high - at.low;
  };
  EXPECT_GT(width(alike), 1.1 * width(apart));
}

// A curve that falls by a step now and then, whose past shows it.
TEST(Forecast, WhatWentWrongBeforeWidensIt) {
  const auto steps_of = [](bool jumps) {
    std::vector<LossPoint> steps;
    for (int i = 1; i <= 1000; ++i) {
      const double wave = jumps ? 0.2 * std::sin(6 * std::log(i)) : 0;
      steps.push_back({static_cast<double>(i), curve(i, 0.3) + wave});
    }
    return steps;
  };
  const auto smooth = forecast(steps_of(false), 2000);
  const auto waved = forecast(steps_of(true), 2000);
  ASSERT_TRUE(smooth && waved);
  EXPECT_LT(smooth->high - smooth->low, 0.01);
  EXPECT_GT(waved->high - waved->low, 0.2);
}

TEST(Forecast, HasToSeeHowWellItDidBefore) {
  std::vector<LossPoint> steps;
  for (int i = 1; i <= 60; ++i) {
    steps.push_back({static_cast<double>(i), curve(i, 0.3)});
  }
  EXPECT_TRUE(forecast(steps, 70));
  EXPECT_FALSE(forecast(steps, 600));
  EXPECT_FALSE(forecast(std::vector<LossPoint>{}, 600));
}

TEST(LossForecast, AFewPointsSayNothing) {
  std::vector<LossPoint> points = points_of(0.3, 0.02, 1);
  points.resize(LossForecast::kFewestPoints - 1);
  EXPECT_FALSE(LossForecast::of(points));
  EXPECT_FALSE(LossForecast::of(std::vector<LossPoint>(20, {1, 2})));
}

}  // namespace
}  // namespace annuli::study
