#include "annuli/kernels/optim/newton_schulz.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_svd.h>
#include <ATen/ops/zeros.h>
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cmath>
#include <tuple>

#include "tests/support/tensor_checks.h"

namespace annuli::kernels {
namespace {

using test::random_tensor;
using test::relative_error;

constexpr double kEps = 1e-7;
constexpr double kOfGram = 35600;

at::Tensor fast(at::Tensor x, double eps = kEps) {
  x = x.clone();
  orthogonalize(x, eps);
  return x;
}
at::Tensor plain(at::Tensor x, double eps = kEps) {
  x = x.clone();
  reference::orthogonalize(x, eps);
  return x;
}

// A matrix of the shape whose singular values are powers of 0.6, the least 1e-4
// of the largest.
at::Tensor graded(int64_t rows, int64_t columns) {
  const auto [u, s, v] = at::linalg_svd(
      random_tensor({rows, columns}, "graded"), /*full_matrices=*/false);
  at::Tensor values = s.clone();
  for (int64_t i = 0; i < s.numel(); ++i) {
    values[i] = std::max(std::pow(0.6, i), 1e-4);
  }
  return u.mul(values).mm(v);
}

using Shape = std::tuple<int64_t, int64_t>;
class NewtonSchulz : public testing::TestWithParam<Shape> {
 protected:
  int64_t rows() const { return std::get<0>(GetParam()); }
  int64_t columns() const { return std::get<1>(GetParam()); }
  double side() const {
    return static_cast<double>(std::min(rows(), columns()));
  }
};
INSTANTIATE_TEST_SUITE_P(Shapes, NewtonSchulz,
                         testing::Values(Shape{1, 1}, Shape{1, 40},
                                         Shape{40, 1}, Shape{48, 48},
                                         Shape{48, 200}, Shape{200, 48},
                                         Shape{150, 260}, Shape{260, 150}));

// What is small is larger by up to 3.4445^5 = 485, its rounding in 17 products
// of length m too; or, of a polynomial of A alone, by 35600 (newton_schulz.h).
TEST_P(NewtonSchulz, AgreesWithReference) {
  for (const at::Tensor& x :
       {random_tensor({rows(), columns()}, "x"), graded(rows(), columns())}) {
    const at::Tensor expected = plain(x);
    for (const auto type : {at::kFloat, at::kDouble}) {
      const double unit = type == at::kDouble ? 0x1p-53 : 0x1p-24;
      const double limit = 485 * std::sqrt(17 * side()) * unit;
      const at::Tensor found = fast(x.to(type));
      EXPECT_EQ(found.scalar_type(), type);
      EXPECT_LE(relative_error(found, expected),
                rows() == columns() ? limit : kOfGram * unit);
      EXPECT_LE(relative_error(plain(x.to(type)), expected), limit);
    }
  }
}

// The five steps, number by number, on the singular values.
TEST_P(NewtonSchulz, IsTheFormulaOfTheSingularValues) {
  const at::Tensor x = graded(rows(), columns());
  const auto [u, s, v] = at::linalg_svd(x, /*full_matrices=*/false);
  at::Tensor values = s / s.norm();
  for (int step = 0; step < kNewtonSchulzSteps; ++step) {
    values = 3.4445 * values - 4.7750 * values.pow(3) + 2.0315 * values.pow(5);
  }
  const at::Tensor expected = u.mul(values).mm(v);
  EXPECT_LE(relative_error(fast(x), expected), 1e-11);
  EXPECT_LE(relative_error(plain(x), expected), 1e-11);
  // The control: what is orthogonal in truth is something else.
  if (side() > 1) {
    EXPECT_GT(relative_error(fast(x), u.mm(v)), 1e-2);
  }
}

// A matrix that is tiled p x q times has the same singular values over its
// norm: growth counts on it.
TEST_P(NewtonSchulz, OfATileIsTheTileOfIt) {
  const at::Tensor x = random_tensor({rows(), columns()}, "x");
  const at::Tensor tile = fast(x.repeat({3, 2}));
  EXPECT_LE(relative_error(tile * std::sqrt(6.0), fast(x).repeat({3, 2})),
            kOfGram * 0x1p-53);
}

TEST(NewtonSchulz, NothingStaysNothing) {
  const at::Tensor x = at::zeros({5, 7}, at::kFloat);
  EXPECT_EQ(fast(x).abs().max().item<double>(), 0);
  EXPECT_EQ(plain(x).abs().max().item<double>(), 0);
}

// Below eps it is the matrix over eps: here the slope at 0, 485 of 1e-6.
TEST(NewtonSchulz, EpsIsTheLeastNorm) {
  const at::Tensor x = random_tensor({8, 8}, "x") * 1e-12;
  const double slope = std::pow(3.4445, 5);
  for (const at::Tensor& found : {fast(x, 1e-5), plain(x, 1e-5)}) {
    EXPECT_LE(relative_error(found, x * (slope / 1e-5)), 1e-6);
  }
  EXPECT_GT(relative_error(fast(x, 1e-20), x * (slope / 1e-5)), 1);
}

}  // namespace
}  // namespace annuli::kernels
