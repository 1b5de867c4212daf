#include "annuli/kernels/attention.h"

#include <ATen/ops/cat.h>
#include <gtest/gtest.h>

#include <cmath>

#include "annuli/kernels/threads.h"
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
    const auto in = inputs(GetParam(), dtype);
    const auto fast = test::value_and_gradients(attend, in);
    const auto slow = test::value_and_gradients(plain, in);
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
  set_num_threads(1);
  const auto one = test::value_and_gradients(attend, in);
  set_num_threads(2);
  const auto two = test::value_and_gradients(attend, in);
  EXPECT_TRUE(test::same_bits(one.value, two.value));
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(test::same_bits(one.gradients[i], two.gradients[i])) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, CausalAttention,
    testing::Values(Shape{"square", 2, 40, 40, 4, 4, 16},
                    Shape{"long_enough_for_blocks", 1, 300, 300, 2, 2, 8},
                    Shape{"grouped", 2, 33, 33, 6, 2, 8},
                    Shape{"one_kv_head", 1, 20, 20, 4, 1, 8},
                    Shape{"one_token", 3, 1, 1, 2, 2, 8},
                    Shape{"one_token_with_cache", 2, 1, 17, 4, 2, 8},
                    Shape{"some_tokens_with_cache", 2, 5, 17, 4, 2, 8}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(Attention, GradientMatchesFiniteDifferences) {
  const auto in = inputs({"", 1, 3, 4, 4, 2, 2}, at::kDouble);
  EXPECT_LE(test::finite_difference_error(attend, in),
            test::kFiniteDifferenceTolerance);
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
