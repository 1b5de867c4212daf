#include "annuli/kernels/cpu/vector_exp.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace annuli::kernels {
namespace {

TEST(VectorExp, WithinTwoUnitsInTheLastPlace) {
  double worst = 0;
  for (int i = 0; i <= 640000; ++i) {
    const float x = -static_cast<float>(i) * 1e-4f;
    if (x < -64.0f) break;
    const double exact = std::exp(static_cast<double>(x));
    worst = std::max(worst, std::abs(exp_nonpositive(x) - exact) / exact);
  }
  EXPECT_LE(worst, 2 * 0x1p-23);
  EXPECT_GT(worst, 0);
}

TEST(VectorExp, Ends) {
  EXPECT_EQ(exp_nonpositive(0.0f), 1.0f);
  EXPECT_EQ(exp_nonpositive(-64.1f), 0.0f);
  EXPECT_EQ(exp_nonpositive(-1e30f), 0.0f);
  EXPECT_EQ(exp_nonpositive(-std::numeric_limits<float>::infinity()), 0.0f);
  EXPECT_TRUE(
      std::isnan(exp_nonpositive(std::numeric_limits<float>::quiet_NaN())));
}

}  // namespace
}  // namespace annuli::kernels
