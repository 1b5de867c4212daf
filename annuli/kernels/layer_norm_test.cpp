#include "annuli/kernels/layer_norm.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <gtest/gtest.h>

#include "tests/support/finite_difference.h"

namespace annuli::kernels {
namespace {

using test::random_tensor;
using test::relative_error;

constexpr double kEps = 1e-6;

at::Tensor fast(const std::vector<at::Tensor>& in) {
  return layer_norm(in[0], in[1], in[2], kEps, in[0].scalar_type());
}
at::Tensor plain(const std::vector<at::Tensor>& in) {
  return reference::layer_norm(in[0], in[1], in[2], kEps);
}

std::vector<at::Tensor> inputs(at::IntArrayRef shape,
                               at::ScalarType dtype = at::kDouble) {
  return {random_tensor(shape, "x", dtype),
          random_tensor({shape.back()}, "gain", dtype),
          random_tensor({shape.back()}, "bias", dtype)};
}

// A sum of D terms in any order is good to D eps / 2 at worst; the reference
// rounds alike. N rows enter the gradients of gain and bias the same way.
double tolerance(at::ScalarType dtype, int64_t terms) {
  const double eps = dtype == at::kFloat ? 0x1p-23 : 0x1p-52;
  return eps * static_cast<double>(terms);
}

class LayerNormTypes : public testing::TestWithParam<at::ScalarType> {};

TEST_P(LayerNormTypes, AgreesWithReference) {
  // 150 rows: two whole blocks and a part; 37: not a multiple of any vector.
  const auto in = inputs({3, 50, 37}, GetParam());
  const auto a = test::value_and_gradients(fast, in);
  const auto b = test::value_and_gradients(plain, in);
  EXPECT_LE(relative_error(a.value, b.value), tolerance(GetParam(), 2 * 37));
  EXPECT_LE(relative_error(a.gradients[0], b.gradients[0]),
            tolerance(GetParam(), 3 * 37));
  EXPECT_LE(relative_error(a.gradients[1], b.gradients[1]),
            tolerance(GetParam(), 150));
  EXPECT_LE(relative_error(a.gradients[2], b.gradients[2]),
            tolerance(GetParam(), 150));
}

TEST_P(LayerNormTypes, SameBitsForAnyThreadCount) {
  EXPECT_TRUE(
      test::same_bits_for_any_threads(fast, inputs({1000, 40}, GetParam())));
}

// What growth rests on: copies of the coordinates change neither mean nor
// variance. Two sums of 2 D terms, each rounded as above.
TEST_P(LayerNormTypes, CopiedCoordinatesKeepTheirValues) {
  const auto in = inputs({50, 37}, GetParam());
  std::vector<at::Tensor> twice;
  for (const at::Tensor& x : in) twice.push_back(at::cat({x, x}, -1));
  const at::Tensor y = fast(in);
  EXPECT_LE(relative_error(at::cat({y, y}, -1), fast(twice)),
            tolerance(GetParam(), 2 * 74));
}

// The control: zeros beside the coordinates do, which is why a widening by them
// is refused.
TEST_P(LayerNormTypes, ZerosBesideTheCoordinatesDoNot) {
  auto in = inputs({50, 37}, GetParam());
  const at::Tensor y = fast(in);
  in[0] = at::cat({in[0], in[0] * 0}, -1);
  for (size_t i : {1, 2}) in[i] = at::cat({in[i], in[i]}, -1);
  EXPECT_GT(relative_error(y, fast(in).narrow(-1, 0, 37)), 0.1);
}

INSTANTIATE_TEST_SUITE_P(Types, LayerNormTypes,
                         testing::Values(at::kFloat, at::kDouble));

TEST(LayerNorm, GradientMatchesFiniteDifferences) {
  EXPECT_LE(test::finite_difference_error(fast, inputs({3, 5})),
            test::kFiniteDifferenceTolerance);
}

// The control: a gradient that misses a term is seen.
TEST(LayerNorm, FiniteDifferencesSeeAWrongGradient) {
  auto cut = [](const std::vector<at::Tensor>& x) {
    return fast(x) + 1e-6 * (x[0].detach() - x[0]);
  };
  EXPECT_GT(test::finite_difference_error(cut, inputs({3, 5})),
            10 * test::kFiniteDifferenceTolerance);
}

TEST(LayerNorm, ARowOfEqualEntriesIsTheBiasWithFiniteGradient) {
  auto in = inputs({1, 8});
  in[0] = in[0] * 0 + 3;
  const auto result = test::value_and_gradients(fast, in);
  EXPECT_TRUE(result.value[0].equal(in[2]));
  EXPECT_TRUE(result.gradients[0].isfinite().all().item<bool>());
}

// A mean far from the deviation, as the residual stream of a trained model has
// in some coordinates, costs its own digits and no more: at 1000 deviations the
// entries are off by 1000 eps.
TEST(LayerNorm, AGreatMeanCancelsNoVariance) {
  auto in = inputs({20, 64}, at::kFloat);
  in[0] = in[0] + 1000;
  std::vector<at::Tensor> wide;
  for (const at::Tensor& x : in) wide.push_back(x.to(at::kDouble));
  EXPECT_LE(relative_error(plain(wide), fast(in)), 1000 * 0x1p-23);
}

TEST(LayerNorm, ReadsThroughStrides) {
  const auto in = inputs({6, 8});
  const at::Tensor x = random_tensor({8, 6}, "turned").t();
  EXPECT_TRUE(test::same_bits(fast({x, in[1], in[2]}),
                              fast({x.contiguous(), in[1], in[2]})));
}

TEST(LayerNorm, ARowInPlainMemoryHasTheSameBits) {
  const auto in = inputs({1, 37}, at::kFloat);
  at::Tensor row = in[0].clone();
  layer_norm_row(row.const_data_ptr<float>(), in[1].const_data_ptr<float>(),
                 in[2].const_data_ptr<float>(), 37, kEps,
                 row.mutable_data_ptr<float>());
  EXPECT_TRUE(test::same_bits(row, fast(in)));
}

}  // namespace
}  // namespace annuli::kernels
