#include "annuli/grow/apply.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "annuli/core/error.h"
#include "annuli/grow/axis_rule.h"
#include "annuli/grow/transforms/fresh.h"
#include "annuli/grow/transforms/noise.h"
#include "annuli/grow/transforms/random_router.h"
#include "annuli/kernels/normal_fill.h"

namespace annuli::grow {
namespace {

at::Tensor random(at::IntArrayRef shape, at::ScalarType dtype) {
  at::Tensor x = at::empty(shape, at::kDouble);
  kernels::fill_normal(x, CounterRng(3, "apply_test"), 0.2);
  return x.to(dtype);
}

// n x n copies of a matrix, divided by n.
TensorRecipe cloned(int64_t rows, int64_t cols, int64_t n) {
  TensorRecipe recipe;
  recipe.child = "child";
  recipe.parent = "parent";
  recipe.shape = {n * rows, n * cols};
  recipe.dimensions = {{tile(rows, n), n}, {tile(cols, n), n}};
  recipe.scale = 1.0 / static_cast<double>(n);
  return recipe;
}

TensorRecipe noisy(int64_t rows, int64_t cols, int64_t n, double snr_db) {
  TensorRecipe recipe = cloned(rows, cols, n);
  recipe.set(std::make_shared<Noise>(snr_db, 5));
  return recipe;
}

// Column copy j of row copy i.
at::Tensor block(const at::Tensor& child, int64_t n, int64_t i, int64_t j) {
  const int64_t rows = child.size(0) / n;
  const int64_t cols = child.size(1) / n;
  return child.narrow(0, i * rows, rows)
      .narrow(1, j * cols, cols)
      .to(at::kDouble);
}

double norm(const at::Tensor& x) {
  return at::linalg_vector_norm(x).item<double>();
}

at::Tensor half_difference(const at::Tensor& child, int64_t n, int64_t i,
                           int64_t pair) {
  return (block(child, n, i, 2 * pair) - block(child, n, i, 2 * pair + 1)) / 2;
}

TEST(Apply, TilesLikeRepeat) {
  const at::Tensor parent = random({5, 7}, at::kDouble);
  for (int64_t n : {1, 2, 3, 4}) {
    const at::Tensor child = apply(cloned(5, 7, n), parent, 0, at::kDouble);
    EXPECT_TRUE(at::equal(
        child, parent.repeat({n, n}) * (1.0 / static_cast<double>(n))));
  }
}

TEST(Apply, TilesVectorsAndPicksSlices) {
  const at::Tensor gain = random({6}, at::kFloat);
  TensorRecipe recipe;
  recipe.shape = {8};
  recipe.dimensions = {{{{4, 2}, {0, 6}}, 1}};
  const at::Tensor child = apply(recipe, gain, 0, at::kFloat);
  EXPECT_TRUE(at::equal(child, at::cat({gain.narrow(0, 4, 2), gain})));
  recipe.dimensions = {{{{4, 3}, {0, 5}}, 1}};
  EXPECT_THROW(apply(recipe, gain, 0, at::kFloat), CheckFailure);
}

TEST(Apply, ConvertsToTheStoredType) {
  const at::Tensor parent = random({4, 6}, at::kBFloat16);
  const at::Tensor child = apply(cloned(4, 6, 2), parent, 0, at::kFloat);
  EXPECT_EQ(child.scalar_type(), at::kFloat);
  EXPECT_TRUE(at::equal(child, parent.to(at::kFloat).repeat({2, 2}) / 2));
}

TEST(CancellingNoise, PairsSumExactlyInEveryStoredType) {
  for (at::ScalarType dtype :
       {at::kFloat, at::kDouble, at::kBFloat16, at::kHalf}) {
    const at::Tensor parent = random({33, 47}, dtype);
    for (int64_t n : {2, 3, 4, 5}) {
      const at::Tensor child = apply(noisy(33, 47, n, 10), parent, 1, dtype);
      const at::Tensor clean =
          block(apply(cloned(33, 47, n), parent, 1, dtype), n, 0, 0);
      for (int64_t i = 0; i < n; ++i) {
        for (int64_t pair = 0; pair < n / 2; ++pair) {
          // Exact in fp64: sums of two numbers of at most 53 bits whose
          // exponents differ by at most 2 and whose sum has 53 bits.
          const at::Tensor sum =
              block(child, n, i, 2 * pair) + block(child, n, i, 2 * pair + 1);
          EXPECT_TRUE(at::equal(sum, 2 * clean)) << n << dtype;
          EXPECT_GT(norm(half_difference(child, n, i, pair)), 0);
        }
        if (n % 2 == 1) {
          EXPECT_TRUE(at::equal(block(child, n, i, n - 1), clean));
        }
      }
    }
  }
}

// The control: rounding both copies, as written in most code, does not cancel.
TEST(CancellingNoise, RoundingBothCopiesWouldNotCancel) {
  const at::Tensor w = random({64, 64}, at::kFloat) / 2;
  const at::Tensor e = random({64, 64}, at::kDouble) / 3;
  const at::Tensor sum = (w + e).to(at::kFloat).to(at::kDouble) +
                         (w - e).to(at::kFloat).to(at::kDouble);
  EXPECT_GT(norm(sum - 2 * w.to(at::kDouble)), 0);
}

TEST(CancellingNoise, HasTheAskedPowerInEveryBlock) {
  for (double snr_db : {0.0, 10.0, 40.0}) {
    for (int64_t rows : {3, 200}) {
      const at::Tensor parent = random({rows, 150}, at::kFloat);
      const at::Tensor child =
          apply(noisy(rows, 150, 4, snr_db), parent, 9, at::kFloat);
      for (int64_t i = 0; i < 4; ++i) {
        for (int64_t pair = 0; pair < 2; ++pair) {
          const double signal = norm(parent) / 4;
          const double noise = norm(half_difference(child, 4, i, pair));
          EXPECT_NEAR(20 * std::log10(signal / noise), snr_db, 0.1);
        }
      }
    }
  }
}

TEST(CancellingNoise, IsDrawnAnewForEveryCopyAndPair) {
  const at::Tensor parent = random({128, 128}, at::kFloat);
  const at::Tensor child = apply(noisy(128, 128, 4, 10), parent, 9, at::kFloat);
  std::vector<at::Tensor> draws;
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t pair = 0; pair < 2; ++pair) {
      const at::Tensor e = half_difference(child, 4, i, pair);
      draws.push_back(e / norm(e));
    }
  }
  for (size_t i = 0; i < draws.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      // Correlation of independent draws: standard error 1 / sqrt(16384).
      EXPECT_LT(std::abs((draws[i] * draws[j]).sum().item<double>()),
                5.0 / 128);
    }
  }
}

TEST(CancellingNoise, FollowsFromTheSeedWhateverTheThreads) {
  const at::Tensor parent = random({300, 120}, at::kFloat);
  const TensorRecipe recipe = noisy(300, 120, 2, 10);
  const int threads = at::get_num_threads();
  at::set_num_threads(2);
  const at::Tensor two = apply(recipe, parent, 4, at::kFloat);
  at::set_num_threads(1);
  const at::Tensor one = apply(recipe, parent, 4, at::kFloat);
  at::set_num_threads(threads);
  EXPECT_TRUE(at::equal(one, two));
  EXPECT_FALSE(at::equal(one, apply(recipe, parent, 5, at::kFloat)));
}

TEST(CancellingNoise, LeavesZerosAlone) {
  at::Tensor parent = at::zeros({8, 8}, at::kFloat);
  EXPECT_TRUE(at::equal(apply(noisy(8, 8, 2, 10), parent, 4, at::kFloat),
                        at::zeros({16, 16}, at::kFloat)));
  parent[3][4] = 1.0;
  const at::Tensor child = apply(noisy(8, 8, 2, 10), parent, 4, at::kFloat);
  EXPECT_NEAR(std::abs(child[3][4].item<double>() - 0.5), 0.5 * 0.3162, 1e-2);
  EXPECT_EQ((child != 0).sum().item<int64_t>(), 4);
}

TEST(RandomRouter, IsOrthogonalToTheMean) {
  TensorRecipe recipe;
  recipe.child = "router";
  recipe.source = Source::kRandomRouter;
  recipe.shape = {8, 512};
  recipe.set(std::make_shared<RandomRouter>(0.02, false));
  const at::Tensor mean = random({512}, at::kFloat) + 0.5;
  const auto alignment = [&](const at::Tensor& router) {
    const at::Tensor w = router.to(at::kDouble);
    const at::Tensor m = mean.to(at::kDouble);
    return (w.matmul(m).abs().max() / (norm(m) * norm(w))).item<double>();
  };
  // Rounding to fp32 leaves at most epsilon / 2 of each entry.
  EXPECT_LT(alignment(apply(recipe, {}, 1, at::kFloat, mean)), 6e-8);
  EXPECT_GT(alignment(apply(recipe, {}, 1, at::kFloat)), 1e-3);
  const at::Tensor router = apply(recipe, {}, 1, at::kFloat, mean);
  // 4096 numbers: the standard error of their deviation is 1.1 %.
  EXPECT_NEAR(norm(router) / std::sqrt(8.0 * 512) / 0.02, 1, 0.06);
}

TensorRecipe fresh(std::vector<int64_t> shape, FirstValues values) {
  TensorRecipe recipe;
  recipe.child = "fresh";
  recipe.source = Source::kFresh;
  recipe.shape = std::move(shape);
  recipe.stream = 6;
  recipe.set(std::make_shared<Fresh>(values, 0.02));
  return recipe;
}

// 7 * 5 numbers, so that a piece's begin anywhere in a block of four.
TEST(Fresh, PiecesAreTheWholeOfANewTensor) {
  for (const at::ScalarType dtype :
       {at::kFloat, at::kDouble, at::kBFloat16, at::kHalf}) {
    const TensorRecipe recipe = fresh({7, 5}, FirstValues::kNormal);
    at::Tensor expected = at::empty({7, 5}, at::kDouble);
    kernels::fill_normal(expected, CounterRng(11, uint64_t{6}), 0.02);
    const RowMaker maker(recipe, {}, 11, dtype);
    for (int64_t piece = 1; piece <= 7; ++piece) {
      at::Tensor rows = at::empty({7, 5}, dtype);
      for (int64_t row = 0; row < 7; row += piece) {
        maker.make(row, std::min<int64_t>(7, row + piece),
                   rows[row].data_ptr());
      }
      EXPECT_TRUE(at::equal(rows, expected.to(dtype))) << piece;
    }
  }
  EXPECT_TRUE(
      at::equal(apply(fresh({9}, FirstValues::kOne), {}, 1, at::kBFloat16),
                at::ones({9}, at::kBFloat16)));
}

// Rows made in pieces of every size are the rows of the whole, noise included.
TEST(RowMaker, PiecesAreTheWhole) {
  constexpr int64_t kRows = 7;
  constexpr int64_t kCols = 5;  // so that a piece's numbers begin anywhere
  for (at::ScalarType dtype : {at::kFloat, at::kDouble, at::kBFloat16}) {
    const at::Tensor parent = random({kRows, kCols}, dtype);
    const TensorRecipe recipe = noisy(kRows, kCols, 3, 10);
    const at::Tensor whole = apply(recipe, parent, 11, dtype);
    const RowMaker maker(recipe, parent, 11, dtype);
    for (int64_t piece = 1; piece <= maker.rows(); ++piece) {
      at::Tensor rows = at::empty(recipe.shape, dtype);
      for (int64_t row = 0; row < maker.rows(); row += piece) {
        const int64_t end = std::min(row + piece, maker.rows());
        maker.make(row, end, rows[row].data_ptr());
      }
      EXPECT_TRUE(at::equal(rows, whole)) << piece;
    }
  }
}

TEST(RowMaker, SeveralParentsGiveTheirMean) {
  const at::Tensor a = random({4, 6}, at::kFloat);
  const at::Tensor b = a * 3;
  const at::Tensor c = a * 0.5;
  TensorRecipe recipe = cloned(4, 6, 2);
  recipe.models = {0, 2, 5};
  const at::Tensor mean =
      ((a.to(at::kDouble) + b.to(at::kDouble) + c.to(at::kDouble)) / 3.0)
          .to(at::kFloat);
  EXPECT_TRUE(at::equal(apply(recipe, {a, b, c}, 0, at::kFloat),
                        apply(cloned(4, 6, 2), mean, 0, at::kFloat)));
}

}  // namespace
}  // namespace annuli::grow
