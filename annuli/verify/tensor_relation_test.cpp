#include "annuli/verify/tensor_relation.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/zeros_like.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace annuli::verify {
namespace {

using ::testing::StartsWith;

constexpr int64_t kHeadDim = 4;

// [8, 6]: two heads of rows.
at::Tensor matrix() { return at::sin(at::arange(48, at::kFloat)).view({8, 6}); }

std::string said(const at::Tensor& a, const at::Tensor& b) {
  return describe(relate(a, b, kHeadDim));
}

TEST(TensorRelation, TellsEqualFromScaled) {
  const at::Tensor a = matrix();
  EXPECT_EQ(said(a, a.clone()), "equal");
  EXPECT_EQ(said(a, 0.5 * a), "times 0.5");
  EXPECT_EQ(said(a, a / 3), "times 0.333333");
  EXPECT_EQ(said(a, -a), "times -1");
  EXPECT_EQ(said(a[0], 2 * a[0]), "times 2");
}

TEST(TensorRelation, LooksThroughTheRoundingOfAType) {
  const at::Tensor a = matrix();
  EXPECT_EQ(said(a, a.to(at::kBFloat16)), "equal but for rounding");
  EXPECT_EQ(said(a, a.to(at::kHalf)), "equal but for rounding");
  EXPECT_THAT(said(a, 1.05 * a.to(at::kBFloat16)), StartsWith("times 1.05"));
  // In fp32 a thousandth is no rounding.
  EXPECT_EQ(relate(a, 1.001 * a, kHeadDim).relation, Relation::kScaled);
  EXPECT_THAT(said(a, 1.001 * a), StartsWith("times 1.001"));
}

TEST(TensorRelation, FindsHowCopiesLie) {
  const at::Tensor a = matrix();
  EXPECT_EQ(said(a, at::cat({a, a})), "2 x 1 copies");
  EXPECT_EQ(said(a, at::cat({a, a}, 1)), "1 x 2 copies");
  EXPECT_EQ(said(a, 0.5 * at::cat({a, a}).repeat({1, 3})),
            "2 x 3 copies, times 0.5");
  EXPECT_EQ(said(a, a.repeat_interleave(2, 0)),
            "2 x 1 copies, dimension 0 by element");
  EXPECT_EQ(said(a, a.repeat_interleave(2, 1)),
            "1 x 2 copies, dimension 1 by element");
  const at::Tensor heads =
      a.view({2, kHeadDim, 6}).repeat_interleave(3, 0).flatten(0, 1);
  EXPECT_EQ(said(a, heads), "3 x 1 copies, dimension 0 by 4");
  EXPECT_EQ(said(a[0], at::cat({a[0], a[0]})), "2 copies");
}

TEST(TensorRelation, CountsWhatIsBehindTheCopies) {
  const at::Tensor a = matrix();
  EXPECT_EQ(said(a, at::cat({a, 9 + a.narrow(0, 0, 3)})),
            "1 x 1 copies, 3 more in dimension 0");
}

TEST(TensorRelation, MeasuresNoiseThatCancels) {
  const at::Tensor a = matrix();
  const at::Tensor noise = 0.1 * at::sin(7 * at::arange(48, at::kFloat)) *
                           a.norm() / std::sqrt(24.0);
  const at::Tensor n = noise.view({8, 6});
  const TensorRelation found = relate(a, at::cat({a + n, a - n}), kHeadDim);
  EXPECT_EQ(found.relation, Relation::kNoisy);
  EXPECT_NEAR(found.change, (n.norm() / a.norm()).item<double>(), 1e-6);
  EXPECT_THAT(describe(found), StartsWith("2 x 1 copies, noise of 20."));
  // The same noise on both does not cancel.
  EXPECT_EQ(relate(a, at::cat({a + n, a + n}), kHeadDim).relation,
            Relation::kChanged);
}

TEST(TensorRelation, MeasuresAChange) {
  const at::Tensor a = matrix();
  at::Tensor b = a.clone();
  b[3][2] += 1;
  const TensorRelation found = relate(a, b, kHeadDim);
  EXPECT_EQ(found.relation, Relation::kChanged);
  EXPECT_NEAR(found.change, 1 / a.norm().item<double>(), 1e-6);
  EXPECT_THAT(describe(found), StartsWith("changed by 0."));
}

TEST(TensorRelation, OfZeros) {
  const at::Tensor a = matrix();
  const at::Tensor zeros = at::zeros_like(a);
  EXPECT_EQ(said(zeros, zeros), "equal");
  EXPECT_EQ(said(zeros, at::cat({zeros, zeros})), "2 x 1 copies");
  EXPECT_EQ(said(zeros, a), "changed from zeros");
  EXPECT_EQ(relate(a, zeros, kHeadDim).factor, 0);
}

TEST(TensorRelation, OfOtherShapesIsNone) {
  const at::Tensor a = matrix();
  for (const at::Tensor& b :
       {a.narrow(0, 0, 4), a.t().contiguous(), a[0], a.view({2, 4, 6})}) {
    EXPECT_EQ(said(a, b), "of another shape") << b.sizes();
  }
}

// Larger than what is read at a time.
TEST(TensorRelation, ReadsBlockByBlock) {
  const at::Tensor a =
      at::sin(at::arange(3 << 20, at::kFloat)).view({3 << 10, 1 << 10});
  at::Tensor b = a.repeat_interleave(2, 0);
  EXPECT_EQ(said(a, b), "2 x 1 copies, dimension 0 by element");
  b[-1][0] += 100;
  EXPECT_EQ(relate(a, b, kHeadDim).relation, Relation::kChanged);
}

}  // namespace
}  // namespace annuli::verify
