#include "annuli/kernels/attention.h"

#include <ATen/ops/cat.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/support/finite_difference.h"

namespace annuli::kernels {
namespace {

using test::random_tensor;
using test::relative_error;

at::Tensor attend(const std::vector<at::Tensor>& in) {
  return causal_attention(in[0], in[1], in[2]);
}
at::Tensor plain(const std::vector<at::Tensor>& in) {
  return reference::causal_attention(in[0], in[1], in[2]);
}

// With rotary positions of its own, as in training.
RotaryTable positions(int64_t T, int64_t head_dim, at::ScalarType dtype) {
  return rotary_table(3, T,
                      rotary_frequencies(head_dim, 100.0, dtype, at::kCPU));
}
at::Tensor attend_turned(const std::vector<at::Tensor>& in) {
  return rotary_attention(
      in[0], in[1], in[2],
      positions(in[0].size(1), in[0].size(3), in[0].scalar_type()),
      in[0].scalar_type());
}
at::Tensor plain_turned(const std::vector<at::Tensor>& in) {
  const RotaryTable table =
      positions(in[0].size(1), in[0].size(3), in[0].scalar_type());
  return reference::causal_attention(reference::apply_rotary(in[0], table),
                                     reference::apply_rotary(in[1], table),
                                     in[2]);
}

// Of each head only the first half is turned, as in GPT-NeoX.
RotaryTable half_turned(const at::Tensor& q) {
  return positions(q.size(1), q.size(3) / 2, q.scalar_type());
}
at::Tensor attend_half_turned(const std::vector<at::Tensor>& in) {
  return rotary_attention(in[0], in[1], in[2], half_turned(in[0]),
                          in[0].scalar_type());
}
at::Tensor plain_half_turned(const std::vector<at::Tensor>& in) {
  const RotaryTable table = half_turned(in[0]);
  return reference::causal_attention(reference::apply_rotary(in[0], table),
                                     reference::apply_rotary(in[1], table),
                                     in[2]);
}

struct Shape {
  const char* name;
  int64_t B, T, S, H, K, head_dim;
};

std::vector<at::Tensor> inputs(const Shape& s, at::ScalarType dtype) {
  return {random_tensor({s.B, s.T, s.H, s.head_dim}, "q", dtype),
          random_tensor({s.B, s.S, s.K, s.head_dim}, "k", dtype),
          random_tensor({s.B, s.S, s.K, s.head_dim}, "v", dtype)};
}

class CausalAttention : public testing::TestWithParam<Shape> {
 protected:
  // Scores are sums of head_dim products of size up to 4 x 4 (normal numbers),
  // their error e = head_dim * 16 * eps / sqrt(head_dim) enters the
  // probabilities as a factor 1 + 2 e; the gradients see it twice.
  void expect_agreement(at::ScalarType dtype, double eps) {
    expect_agreement(attend, plain, dtype, eps);
    if (GetParam().T != GetParam().S) return;
    expect_agreement(attend_turned, plain_turned, dtype, eps);
    expect_agreement(attend_half_turned, plain_half_turned, dtype, eps);
  }

  void expect_agreement(const test::TensorFunction& own,
                        const test::TensorFunction& reference,
                        at::ScalarType dtype, double eps) {
    const auto in = inputs(GetParam(), dtype);
    const auto fast = test::value_and_gradients(own, in);
    const auto slow = test::value_and_gradients(reference, in);
    const double limit =
        4 * 16 * std::sqrt(static_cast<double>(GetParam().head_dim)) * eps;
    EXPECT_LE(relative_error(fast.value, slow.value), limit);
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_LE(relative_error(fast.gradients[i], slow.gradients[i]), limit)
          << "input " << i;
    }
  }
};

TEST_P(CausalAttention, AgreesWithReferenceFp32) {
  expect_agreement(at::kFloat, 0x1p-23);
}

TEST_P(CausalAttention, AgreesWithReferenceFp64) {
  expect_agreement(at::kDouble, 0x1p-52);
}

TEST_P(CausalAttention, SameBitsForAnyThreadCount) {
  const auto in = inputs(GetParam(), at::kFloat);
  EXPECT_TRUE(test::same_bits_for_any_threads(attend, in));
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, CausalAttention,
    testing::Values(Shape{"square", 2, 40, 40, 4, 4, 16},
                    Shape{"long_enough_for_blocks", 1, 300, 300, 2, 2, 8},
                    Shape{"grouped", 2, 33, 33, 6, 2, 8},
                    Shape{"one_kv_head", 1, 20, 20, 4, 1, 8},
                    Shape{"one_token", 3, 1, 1, 2, 2, 8},
                    Shape{"one_token_with_cache", 2, 1, 17, 4, 2, 8},
                    Shape{"some_tokens_with_cache", 2, 5, 17, 4, 2, 8},
                    Shape{"block_with_cache", 1, 70, 101, 4, 2, 40},
                    Shape{"whole_tiles", 1, 128, 128, 2, 2, 64}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(Attention, GradientMatchesFiniteDifferences) {
  const auto in = inputs({"", 1, 3, 4, 4, 2, 2}, at::kDouble);
  EXPECT_LE(test::finite_difference_error(attend, in),
            test::kFiniteDifferenceTolerance);
}

TEST(Attention, TurnedGradientMatchesFiniteDifferences) {
  const auto in = inputs({"", 1, 4, 4, 4, 2, 2}, at::kDouble);
  EXPECT_LE(test::finite_difference_error(attend_turned, in),
            test::kFiniteDifferenceTolerance);
}

TEST(Attention, HalfTurnedGradientMatchesFiniteDifferences) {
  const auto in = inputs({"", 1, 4, 4, 4, 2, 4}, at::kDouble);
  EXPECT_LE(test::finite_difference_error(attend_half_turned, in),
            test::kFiniteDifferenceTolerance);
}

// The control: turning the rest of a head too, or none of it, is seen.
TEST(Attention, TurningAnotherPartOfAHeadIsSeen) {
  const auto in = inputs({"", 1, 8, 8, 2, 2, 8}, at::kDouble);
  const at::Tensor half = attend_half_turned(in);
  EXPECT_GT(relative_error(attend_turned(in), half), 0.01);
  EXPECT_GT(relative_error(attend(in), half), 0.01);
}

// The result is rounded to bf16 and nothing else is.
TEST(Attention, RoundsItsResultToBf16) {
  const auto in = inputs({"", 1, 40, 40, 4, 2, 16}, at::kFloat);
  const RotaryTable table = positions(40, 16, at::kFloat);
  const auto narrow = test::value_and_gradients(
      [&](const auto& x) {
        return rotary_attention(x[0], x[1], x[2], table, at::kBFloat16)
            .to(at::kFloat);
      },
      in);
  // The weights of the sum come back through the casts rounded.
  const auto wide = test::value_and_gradients(
      [&](const auto& x) {
        return attend_turned(x).to(at::kBFloat16).to(at::kFloat);
      },
      in);
  EXPECT_TRUE(test::same_bits(narrow.value, wide.value));
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(test::same_bits(narrow.gradients[i], wide.gradients[i])) << i;
  }
}

// A NaN shows in every row that sees it.
TEST(Attention, KeepsNonFiniteNumbers) {
  auto in = inputs({"", 1, 20, 20, 2, 2, 8}, at::kFloat);
  in[1].select(1, 5).fill_(std::numeric_limits<float>::quiet_NaN());
  const at::Tensor out = attend(in);
  EXPECT_TRUE(out.narrow(1, 0, 5).isfinite().all().item<bool>());
  EXPECT_TRUE(out.narrow(1, 5, 15).isnan().all().item<bool>());
}

// A later key changes no earlier output, and does change its own.
TEST(Attention, LooksBackOnly) {
  auto in = inputs({"", 1, 12, 12, 2, 2, 4}, at::kDouble);
  at::Tensor before = attend(in);
  in[1].select(1, 7).add_(1);
  at::Tensor after = attend(in);
  EXPECT_TRUE(test::same_bits(before.narrow(1, 0, 7), after.narrow(1, 0, 7)));
  EXPECT_GT(relative_error(after.select(1, 7), before.select(1, 7)), 1e-3);
}

TEST(Attention, CacheGivesWhatTheWholeGives) {
  const auto in = inputs({"", 1, 9, 9, 4, 2, 8}, at::kDouble);
  at::Tensor whole = attend(in);
  at::Tensor tail = causal_attention(in[0].narrow(1, 5, 4), in[1], in[2]);
  // eps times the terms of a score and a sum of keys
  EXPECT_LE(relative_error(tail, whole.narrow(1, 5, 4)), 64 * 0x1p-52);
}

TEST(Rotary, LeavesTheRestOfAHeadAsItIs) {
  const auto table =
      rotary_table(3, 5, rotary_frequencies(4, 100.0, at::kFloat, at::kCPU));
  const at::Tensor x = random_tensor({1, 5, 2, 10}, "x", at::kFloat);
  const at::Tensor turned = apply_rotary(x, table);
  EXPECT_TRUE(test::same_bits(turned.narrow(3, 4, 6), x.narrow(3, 4, 6)));
  EXPECT_TRUE(test::same_bits(turned.narrow(3, 0, 4),
                              apply_rotary(x.narrow(3, 0, 4), table)));
  // In place, one token of plain memory.
  at::Tensor row = x.select(1, 2).clone();
  rotate_row(row.const_data_ptr<float>(), table.cos[2].const_data_ptr<float>(),
             table.sin[2].const_data_ptr<float>(), 2, 10, 2,
             row.mutable_data_ptr<float>());
  EXPECT_TRUE(test::same_bits(row, turned.select(1, 2)));
}

TEST(Rotary, TableIsPositionTimesFrequency) {
  const auto table =
      rotary_table(3, 2, rotary_frequencies(4, 100.0, at::kDouble, at::kCPU));
  // theta^(-2i/4) is 1 and 1/10
  EXPECT_NEAR(table.cos[0][0].item<double>(), std::cos(3.0), 1e-15);
  EXPECT_NEAR(table.sin[1][0].item<double>(), std::sin(4.0), 1e-15);
  EXPECT_NEAR(table.cos[1][1].item<double>(), std::cos(0.4), 1e-15);
  EXPECT_NEAR(table.sin[0][1].item<double>(), std::sin(0.3), 1e-15);
}

class RotaryTypes : public testing::TestWithParam<at::ScalarType> {};

TEST_P(RotaryTypes, AgreesWithReference) {
  const auto table =
      rotary_table(5, 40, rotary_frequencies(6, 10000.0, GetParam(), at::kCPU));
  std::vector<at::Tensor> in{random_tensor({2, 40, 3, 6}, "x", GetParam())};
  const auto fast = test::value_and_gradients(
      [&](const auto& x) { return apply_rotary(x[0], table); }, in);
  const auto slow = test::value_and_gradients(
      [&](const auto& x) { return reference::apply_rotary(x[0], table); }, in);
  // two products and a sum: 2 eps
  const double eps = GetParam() == at::kFloat ? 0x1p-23 : 0x1p-52;
  EXPECT_LE(relative_error(fast.value, slow.value), 2 * eps);
  EXPECT_LE(relative_error(fast.gradients[0], slow.gradients[0]), 2 * eps);
}

INSTANTIATE_TEST_SUITE_P(Types, RotaryTypes,
                         testing::Values(at::kFloat, at::kDouble));

TEST(Rotary, GradientMatchesFiniteDifferences) {
  const auto table =
      rotary_table(1, 3, rotary_frequencies(4, 10.0, at::kDouble, at::kCPU));
  std::vector<at::Tensor> in{random_tensor({2, 3, 1, 4}, "x")};
  EXPECT_LE(test::finite_difference_error(
                [&](const auto& x) { return apply_rotary(x[0], table); }, in),
            test::kFiniteDifferenceTolerance);
}

// What makes it a position encoding: q.k depends on the distance only.
TEST(Rotary, ProductDependsOnDistanceOnly) {
  at::Tensor q = random_tensor({1, 1, 1, 8}, "q");
  at::Tensor k = random_tensor({1, 1, 1, 8}, "k");
  at::Tensor frequencies =
      rotary_frequencies(8, 10000.0, at::kDouble, at::kCPU);
  auto product = [&](int64_t at_q, int64_t at_k) {
    auto tq = rotary_table(at_q, 1, frequencies);
    auto tk = rotary_table(at_k, 1, frequencies);
    return (apply_rotary(q, tq) * apply_rotary(k, tk)).sum().item<double>();
  };
  // angles up to 40 are good to 40 eps
  EXPECT_NEAR(product(9, 4), product(40, 35), 1e-12);
  EXPECT_GT(std::abs(product(9, 4) - product(9, 5)), 1e-3);
}

}  // namespace
}  // namespace annuli::kernels
