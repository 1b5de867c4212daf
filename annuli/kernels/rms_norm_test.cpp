#include "annuli/kernels/rms_norm.h"

#include <gtest/gtest.h>

#include "tests/support/finite_difference.h"

namespace annuli::kernels {
namespace {

using test::random_tensor;
using test::relative_error;

constexpr double kEps = 1e-6;

at::Tensor fast(const std::vector<at::Tensor>& in) {
  return rms_norm(in[0], in[1], kEps);
}
at::Tensor plain(const std::vector<at::Tensor>& in) {
  return reference::rms_norm(in[0], in[1], kEps);
}

// A sum of D terms in any order is good to D eps / 2 at worst; the reference
// rounds alike. N rows enter the gain's gradient the same way.
double tolerance(at::ScalarType dtype, int64_t terms) {
  const double eps = dtype == at::kFloat ? 0x1p-23 : 0x1p-52;
  return eps * static_cast<double>(terms);
}

class RmsNormTypes : public testing::TestWithParam<at::ScalarType> {};

TEST_P(RmsNormTypes, AgreesWithReference) {
  // 150 rows: two whole blocks and a part; 37: not a multiple of any vector.
  std::vector<at::Tensor> in{random_tensor({3, 50, 37}, "x", GetParam()),
                             random_tensor({37}, "gain", GetParam())};
  const auto a = test::value_and_gradients(fast, in);
  const auto b = test::value_and_gradients(plain, in);
  EXPECT_LE(relative_error(a.value, b.value), tolerance(GetParam(), 37));
  EXPECT_LE(relative_error(a.gradients[0], b.gradients[0]),
            tolerance(GetParam(), 2 * 37));
  EXPECT_LE(relative_error(a.gradients[1], b.gradients[1]),
            tolerance(GetParam(), 150));
}

TEST_P(RmsNormTypes, SameBitsForAnyThreadCount) {
  std::vector<at::Tensor> in{random_tensor({1000, 40}, "x", GetParam()),
                             random_tensor({40}, "gain", GetParam())};
  EXPECT_TRUE(test::same_bits_for_any_threads(fast, in));
}

INSTANTIATE_TEST_SUITE_P(Types, RmsNormTypes,
                         testing::Values(at::kFloat, at::kDouble));

TEST(RmsNorm, GradientMatchesFiniteDifferences) {
  std::vector<at::Tensor> in{random_tensor({3, 5}, "x"),
                             random_tensor({5}, "gain")};
  EXPECT_LE(test::finite_difference_error(fast, in),
            test::kFiniteDifferenceTolerance);
}

// The control: a gradient that misses a term is seen.
TEST(RmsNorm, FiniteDifferencesSeeAWrongGradient) {
  std::vector<at::Tensor> in{random_tensor({3, 5}, "x"),
                             random_tensor({5}, "gain")};
  auto cut = [](const std::vector<at::Tensor>& x) {
    return fast(x) + 1e-6 * (x[0].detach() - x[0]);
  };
  EXPECT_GT(test::finite_difference_error(cut, in),
            10 * test::kFiniteDifferenceTolerance);
}

TEST(RmsNorm, OneRowOfZerosIsZeroWithFiniteGradient) {
  std::vector<at::Tensor> in{random_tensor({1, 8}, "x") * 0,
                             random_tensor({8}, "gain")};
  const auto result = test::value_and_gradients(fast, in);
  EXPECT_EQ(result.value.abs().max().item<double>(), 0);
  EXPECT_TRUE(result.gradients[0].isfinite().all().item<bool>());
}

TEST(RmsNorm, ReadsThroughStrides) {
  at::Tensor x = random_tensor({8, 6}, "x").t();
  at::Tensor gain = random_tensor({8}, "gain");
  EXPECT_TRUE(test::same_bits(rms_norm(x, gain, kEps),
                              rms_norm(x.contiguous(), gain, kEps)));
}

}  // namespace
}  // namespace annuli::kernels
