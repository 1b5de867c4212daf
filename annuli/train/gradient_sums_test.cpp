#include "annuli/train/gradient_sums.h"

#include <ATen/ops/from_blob.h>
#include <ATen/ops/full.h>
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <vector>

#include "annuli/core/rng.h"
#include "annuli/parallel/sum_tree.h"
#include "tests/support/tensor_checks.h"

namespace annuli::train {
namespace {

constexpr size_t kRows = 5;

// Undefined for a third of all rows and passes.
at::Tensor gradient(int64_t part, int64_t pass, size_t row) {
  const std::string name = fmt::format("{}/{}/{}", part, pass, row);
  if (CounterRng(5, name).below(0, 3) == 0) return {};
  return test::random_tensor({7}, name, at::kFloat);
}

at::Tensor plus(const at::Tensor& a, const at::Tensor& b) {
  if (!a.defined() || !b.defined()) return a.defined() ? a : b;
  return a + b;
}

std::vector<at::Tensor> summed(int64_t parts, int64_t passes) {
  GradientSums sums(kRows, parts, passes, false);
  for (int64_t part = 0; part < parts; ++part) {
    for (int64_t pass = 0; pass < passes; ++pass) {
      for (size_t row = kRows; row-- > 0;) {
        const at::Tensor of_pass = gradient(part, pass, row);
        if (of_pass.defined()) sums.add(row, of_pass);
      }
      sums.end_pass();
    }
  }
  return sums.take();
}

at::Tensor expected(int64_t parts, int64_t passes, size_t row) {
  return parallel::tree_sum(
      0, parts,
      [&](int64_t part) {
        at::Tensor sum;
        for (int64_t pass = 0; pass < passes; ++pass) {
          sum = plus(sum, gradient(part, pass, row));
        }
        return sum;
      },
      plus);
}

TEST(GradientSums, AreTreesOfPartsOfPassesInOrder) {
  for (int64_t parts = 1; parts <= 9; ++parts) {
    for (int64_t passes = 1; passes <= 3; ++passes) {
      const std::vector<at::Tensor> sums = summed(parts, passes);
      for (size_t row = 0; row < kRows; ++row) {
        const at::Tensor wanted = expected(parts, passes, row);
        ASSERT_EQ(sums[row].defined(), wanted.defined());
        if (!wanted.defined()) continue;
        EXPECT_TRUE(test::same_bits(sums[row], wanted))
            << parts << " parts of " << passes << ", row " << row;
      }
    }
  }
}

// What is absent is no zero, to which -0 would be added.
TEST(GradientSums, AnAbsentRowAddsNothing) {
  GradientSums sums(2, 2, 1, false);
  sums.end_pass();
  sums.add(0, at::full({1}, -0.0, at::kFloat));
  sums.end_pass();
  const std::vector<at::Tensor> all = sums.take();
  EXPECT_TRUE(std::signbit(all[0].item<float>()));
  EXPECT_FALSE(all[1].defined());
}

// 256 + 1 is 256 in bf16.
TEST(GradientSums, NarrowGradientsAreSummedWide) {
  GradientSums sums(1, 2, 1, true);
  for (const double value : {256.0, 1.0}) {
    sums.add(0, at::full({1}, value, at::kBFloat16));
    sums.end_pass();
  }
  EXPECT_EQ(sums.take()[0].item<float>(), 257);
}

// Rows are freed as they are taken in: beside the sets that wait there is never
// more than the gradient that comes.
TEST(GradientSums, HoldAsManySetsAsTheySay) {
  const std::vector<int64_t> of_parts = {0, 1, 2, 2, 3, 3, 3, 3, 4};
  for (int64_t parts = 1; parts <= 9; ++parts) {
    for (int64_t passes = 1; passes <= 2; ++passes) {
      const int64_t sets = sets_beside_pass(parts, passes);
      EXPECT_EQ(sets, of_parts[parts - 1] + passes - 1);
      std::array<float, 1> entry{};
      int64_t live = 0;
      int64_t most_before_pass = 0;
      int64_t most = 0;
      GradientSums sums(kRows, parts, passes, false);
      for (int64_t pass = 0; pass < parts * passes; ++pass) {
        most_before_pass = std::max(most_before_pass, live);
        for (size_t row = 0; row < kRows; ++row) {
          ++live;
          most = std::max(most, live);
          sums.add(row, at::from_blob(
                            entry.data(), {1}, [&live](void*) { --live; },
                            at::kFloat));
        }
        sums.end_pass();
      }
      const auto rows = static_cast<int64_t>(kRows);
      EXPECT_EQ(most_before_pass, sets * rows);
      EXPECT_LE(most, std::max<int64_t>(sets * rows + 1, rows))
          << parts << " parts of " << passes;
    }
  }
}

}  // namespace
}  // namespace annuli::train
