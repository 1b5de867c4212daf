#include "annuli/study/student_t.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

namespace annuli::study {
namespace {

// Twice the integral of t's density from 0 to x, by Simpson's rule.
double share_within(double x, double degrees) {
  const double scale =
      std::exp(std::lgamma((degrees + 1) / 2) - std::lgamma(degrees / 2)) /
      std::sqrt(degrees * std::numbers::pi);
  const auto density = [&](double t) {
    return scale * std::pow(1 + t * t / degrees, -(degrees + 1) / 2);
  };
  constexpr int kParts = 20000;
  const double step = x / kParts;
  double sum = density(0) + density(x);
  for (int i = 1; i < kParts; ++i) {
    sum += (i % 2 == 1 ? 4 : 2) * density(i * step);
  }
  return 2 * sum * step / 3;
}

// A quantile off by 0.001 moves the share by at most 0.001 times twice the
// density there, which is below 0.12.
TEST(StudentT, QuantilesHoldNinetyFivePercent) {
  for (int64_t degrees = 1; degrees <= 60; ++degrees) {
    EXPECT_NEAR(share_within(t_quantile(degrees), static_cast<double>(degrees)),
                0.95, 0.00012)
        << degrees;
  }
}

TEST(StudentT, ASampleHasItsMoments) {
  const std::vector<double> values = {1, 2, 4, 5};
  const Sample sample = sample_of(values);
  EXPECT_EQ(sample.count, 4);
  EXPECT_DOUBLE_EQ(sample.mean, 3);
  EXPECT_DOUBLE_EQ(sample.deviation, std::sqrt(10.0 / 3));
  EXPECT_DOUBLE_EQ(sample.half_width, 3.182 * std::sqrt(10.0 / 3) / 2);
}

TEST(StudentT, OneValueSaysNothingOfItsSpread) {
  const std::vector<double> one = {2};
  EXPECT_EQ(sample_of(one).half_width, std::numeric_limits<double>::infinity());
  EXPECT_EQ(sample_of(one).deviation, 0);
}

}  // namespace
}  // namespace annuli::study
