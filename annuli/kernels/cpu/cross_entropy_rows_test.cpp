#include "annuli/kernels/cpu/cross_entropy_rows.h"

#include <ATen/ops/log_softmax.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "annuli/kernels/product.h"
#include "annuli/kernels/threads.h"
#include "tests/support/tensor_checks.h"

namespace annuli::kernels::cpu {
namespace {

using test::random_tensor;

// 2500 words: two whole partial sums and a part.
constexpr int64_t kRows = 30, kWords = 2500;

struct Result {
  at::Tensor gradient;
  std::vector<double> losses = std::vector<double>(kRows);
};

Result run(const at::Tensor& logits, double gradient_scale,
           bool rounded = false) {
  std::vector<int64_t> targets(kRows);
  for (int64_t n = 0; n < kRows; ++n) targets[n] = n * 71;
  Result result{logits.clone()};
  if (gradient_scale == 0) {
    cross_entropy_rows(result.gradient, targets.data(), result.losses.data());
  } else {
    result.gradient =
        cross_entropy_gradient(result.gradient, targets.data(),
                               result.losses.data(), gradient_scale, rounded);
  }
  return result;
}

class CrossEntropyRowsTypes : public testing::TestWithParam<at::ScalarType> {
 protected:
  double eps() const { return GetParam() == at::kFloat ? 0x1p-23 : 0x1p-52; }
  at::Tensor logits() const {
    return 5 * random_tensor({kRows, kWords}, "logits", GetParam());
  }
};

// Partial sums of 1024 positive terms in lanes of at least two err by 512
// roundings at worst, and the exponential by 2 units.
TEST_P(CrossEntropyRowsTypes, LossIsLogSoftmaxOfTheTarget) {
  at::Tensor exact = at::log_softmax(logits().to(at::kDouble), -1);
  const Result result = run(logits(), 0);
  for (int64_t n = 0; n < kRows; ++n) {
    const double expected = -exact[n][n * 71].item<double>();
    EXPECT_NEAR(result.losses[n], expected, 514 * eps());
  }
}

TEST_P(CrossEntropyRowsTypes, GradientIsSoftmaxMinusOneHot) {
  at::Tensor expected = at::log_softmax(logits().to(at::kDouble), -1).exp();
  for (int64_t n = 0; n < kRows; ++n) expected[n][n * 71].sub_(1);
  const Result result = run(logits(), 0.25);
  EXPECT_LE(test::relative_error(result.gradient, expected * 0.25),
            516 * eps());
  EXPECT_EQ(result.losses, run(logits(), 0).losses);
}

TEST(CrossEntropyRows, RoundsTheGradientOnce) {
  const at::Tensor logits =
      5 * random_tensor({kRows, kWords}, "logits", at::kFloat);
  const Result rounded = run(logits, 0.25, /*rounded=*/true);
  const Result full = run(logits, 0.25);
  EXPECT_EQ(rounded.losses, full.losses);
  EXPECT_TRUE(test::same_bits(rounded.gradient, operand(full.gradient)));
}

TEST_P(CrossEntropyRowsTypes, SameBitsForAnyThreadCount) {
  set_num_threads(1);
  const Result one = run(logits(), 0.5);
  set_num_threads(2);
  const Result two = run(logits(), 0.5);
  EXPECT_EQ(one.losses, two.losses);
  EXPECT_TRUE(test::same_bits(one.gradient, two.gradient));
}

TEST_P(CrossEntropyRowsTypes, SurvivesAnyFiniteSize) {
  const Result result = run(logits() * 1e6, 1);
  for (double loss : result.losses) EXPECT_TRUE(std::isfinite(loss));
  EXPECT_TRUE(result.gradient.isfinite().all().item<bool>());
}

TEST_P(CrossEntropyRowsTypes, ABadLogitSpoilsItsRowOnly) {
  for (double bad : {std::numeric_limits<double>::quiet_NaN(),
                     std::numeric_limits<double>::infinity()}) {
    at::Tensor spoiled = logits();
    spoiled.select(0, 4).select(0, 100).fill_(bad);
    const Result result = run(spoiled, 1);
    EXPECT_TRUE(std::isnan(result.losses[4]));
    EXPECT_TRUE(std::isfinite(result.losses[3]));
  }
}

INSTANTIATE_TEST_SUITE_P(Types, CrossEntropyRowsTypes,
                         testing::Values(at::kFloat, at::kDouble));

}  // namespace
}  // namespace annuli::kernels::cpu
