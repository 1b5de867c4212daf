#include <ATen/ops/cat.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/core.h>
#include <gtest/gtest.h>

#include "annuli/kernels/combine.h"
#include "annuli/kernels/linear.h"
#include "annuli/kernels/mixture.h"
#include "tests/support/finite_difference.h"

namespace annuli::kernels {
namespace {

using test::random_tensor;
using test::relative_error;

// Inputs of a mixture of linear-gelu experts: x, the logits, E weights.
struct Problem {
  int64_t N, D, E, k;
  at::ScalarType dtype = at::kDouble;

  std::vector<at::Tensor> inputs() const {
    std::vector<at::Tensor> in{random_tensor({N, D}, "x", dtype),
                               random_tensor({N, E}, "logits", dtype)};
    for (int64_t e = 0; e < E; ++e) {
      in.push_back(random_tensor({D, D}, fmt::format("w{}", e), dtype));
    }
    return in;
  }
};

Expert gelu_experts(const std::vector<at::Tensor>& in) {
  return [in](int64_t e, const at::Tensor& rows) {
    return at::gelu(at::linear(rows, in[2 + e]));
  };
}

test::TensorFunction sorted(const Problem& p) {
  return [p](const std::vector<at::Tensor>& in) {
    return dispatch_sorted(in[0], route(in[1], p.k, 0), p.E, gelu_experts(in),
                           in[0].scalar_type());
  };
}

test::TensorFunction full_block(const Problem& p) {
  return [p](const std::vector<at::Tensor>& in) {
    return dispatch_full_block(in[0], route(in[1], p.k, 0), p.E,
                               gelu_experts(in));
  };
}

// The textbook: sum_i g_i expert_i(x_n), every expert masked.
test::TensorFunction textbook(const Problem& p) {
  return [p](const std::vector<at::Tensor>& in) {
    const Routing routing = route(in[1], p.k, 0);
    const Expert expert = gelu_experts(in);
    at::Tensor out = at::zeros_like(in[0]);
    for (int64_t e = 0; e < p.E; ++e) {
      at::Tensor gate =
          (routing.gates * routing.experts.eq(e)).sum(1, true);  // [N, 1]
      out = out + gate * expert(e, in[0]);
    }
    return out;
  };
}

class Dispatch : public testing::TestWithParam<Problem> {};

TEST_P(Dispatch, BothAgreeWithTheTextbook) {
  const auto in = GetParam().inputs();
  const auto expected = test::value_and_gradients(textbook(GetParam()), in);
  for (const auto& f : {sorted(GetParam()), full_block(GetParam())}) {
    const auto got = test::value_and_gradients(f, in);
    // Sums of D and N terms in another order; gates sum to 1 only to rounding,
    // which the cancelling form and the textbook round differently.
    const double limit =
        4 * static_cast<double>(GetParam().D + GetParam().N) * 0x1p-52;
    EXPECT_LE(relative_error(got.value, expected.value), limit);
    for (size_t i = 0; i < in.size(); ++i) {
      if (i == 1 && GetParam().k == 1) continue;  // see OneGateIsConstant
      EXPECT_LE(relative_error(got.gradients[i], expected.gradients[i]), limit)
          << "input " << i;
    }
  }
}

TEST_P(Dispatch, SameBitsForAnyThreadCount) {
  Problem problem = GetParam();
  problem.dtype = at::kFloat;
  const auto in = problem.inputs();
  for (const auto& f : {sorted(problem), full_block(problem)}) {
    EXPECT_TRUE(test::same_bits_for_any_threads(f, in));
  }
}

// N = 2 with E = 8 leaves experts without a token; textbook and full block
// give them zero gradients, and so must the sorted one.
INSTANTIATE_TEST_SUITE_P(
    Shapes, Dispatch,
    testing::Values(Problem{100, 9, 8, 2}, Problem{100, 9, 8, 3},
                    Problem{40, 5, 3, 1}, Problem{40, 5, 3, 3},
                    Problem{1, 4, 2, 2}, Problem{70, 6, 1, 1}));

TEST(DispatchGradient, MatchesFiniteDifferences) {
  const Problem problem{6, 3, 3, 2};
  const auto in = problem.inputs();
  EXPECT_LE(test::finite_difference_error(sorted(problem), in),
            test::kFiniteDifferenceTolerance);
  EXPECT_LE(test::finite_difference_error(full_block(problem), in),
            test::kFiniteDifferenceTolerance);
}

// With one expert chosen its gate is 1 whatever the logits: no gradient.
TEST(DispatchGradient, OneGateIsConstant) {
  const Problem problem{40, 5, 3, 1};
  const auto got = test::value_and_gradients(sorted(problem), problem.inputs());
  EXPECT_EQ(got.gradients[1].abs().max().item<double>(), 0);
}

TEST(DispatchSorted, AnExpertWithoutTokensIsNotCalled) {
  at::Tensor x = random_tensor({3, 4}, "x");
  at::Tensor logits = random_tensor({3, 5}, "logits") * 0.01;
  logits.select(1, 1).add_(5);
  logits.select(1, 4).add_(3);
  const Routing routing = route(logits, 2, 0);
  std::vector<int64_t> called;
  dispatch_sorted(
      x, routing, 5,
      [&](int64_t e, const at::Tensor& rows) {
        called.push_back(e);
        EXPECT_EQ(rows.size(0), 3);
        return rows;
      },
      x.scalar_type());
  EXPECT_EQ(called, (std::vector<int64_t>{1, 4}));
}

// What experts read is rounded; what comes back to x is not.
TEST(DispatchSorted, HandsOutRowsInBf16) {
  const at::Tensor x = random_tensor({40, 8}, "x", at::kFloat);
  const Routing routing =
      route(random_tensor({40, 3}, "logits", at::kFloat), 2, 0);
  const auto mixture = [&](at::ScalarType type) {
    return test::value_and_gradients(
        [&](const auto& in) {
          return dispatch_sorted(
              in[0], routing, 3,
              [&](int64_t e, const at::Tensor& rows) {
                const at::Tensor weight =
                    random_tensor({8, 8}, fmt::format("w{}", e), at::kFloat);
                EXPECT_EQ(rows.scalar_type(), type);
                return linear(rows, {{.matrix = {weight, true}}})[0];
              },
              type);
        },
        {x});
  };
  const auto narrow = mixture(at::kBFloat16);
  const auto wide = mixture(at::kFloat);
  EXPECT_TRUE(test::same_bits(narrow.value, wide.value));
  EXPECT_TRUE(test::same_bits(narrow.gradients[0], wide.gradients[0]));
}

TEST(DispatchSorted, EachExpertGetsItsTokensInOrder) {
  at::Tensor x = at::tensor({0.0, 1.0, 2.0, 3.0}, at::kDouble).view({4, 1});
  Routing routing;
  routing.experts =
      at::tensor({1, 0, 2, 1, 0, 2, 1, 2}, at::kLong).view({4, 2});
  routing.gates = random_tensor({4, 2}, "gates").abs();
  std::vector<std::vector<double>> seen(3);
  dispatch_sorted(
      x, routing, 3,
      [&](int64_t e, const at::Tensor& rows) {
        for (int64_t i = 0; i < rows.size(0); ++i) {
          seen[e].push_back(rows[i][0].item<double>());
        }
        return rows;
      },
      x.scalar_type());
  EXPECT_EQ(seen,
            (std::vector<std::vector<double>>{{0, 2}, {0, 1, 3}, {1, 2, 3}}));
}

// Identical experts: the mixture is the dense layer, bit for bit, although the
// gates are arbitrary; one changed expert (the control) is seen.
TEST(DispatchFullBlock, IdenticalExpertsAreTheDenseLayerBitForBit) {
  const Problem problem{130, 48, 8, 3, at::kFloat};
  auto in = problem.inputs();
  for (int64_t e = 1; e < problem.E; ++e) in[2 + e] = in[2];
  at::Tensor dense = gelu_experts(in)(0, in[0]);
  EXPECT_TRUE(test::same_bits(full_block(problem)(in), dense));
  in[2 + 5] = in[2] + 1e-6;
  EXPECT_FALSE(test::same_bits(full_block(problem)(in), dense));
}

TEST(Combine, AgreesWithReferenceWhenRowsStayUnused) {
  at::Tensor row = at::tensor({5, 0, 2, 6}, at::kLong);
  std::vector<at::Tensor> in{random_tensor({7, 3}, "y"),
                             random_tensor({2, 2}, "gates")};
  const auto fast = test::value_and_gradients(
      [&](const auto& x) {
        return combine({x[0].narrow(0, 0, 3), x[0].narrow(0, 3, 4)}, row, x[1]);
      },
      in);
  const auto slow = test::value_and_gradients(
      [&](const auto& x) { return reference::combine(x[0], row, x[1]); }, in);
  EXPECT_LE(relative_error(fast.value, slow.value), 4 * 0x1p-52);
  EXPECT_LE(relative_error(fast.gradients[0], slow.gradients[0]), 4 * 0x1p-52);
  EXPECT_LE(relative_error(fast.gradients[1], slow.gradients[1]), 8 * 0x1p-52);
  EXPECT_EQ(fast.gradients[0][1].abs().max().item<double>(), 0);
}

}  // namespace
}  // namespace annuli::kernels
