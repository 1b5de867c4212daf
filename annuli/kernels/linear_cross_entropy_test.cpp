#include "annuli/kernels/linear_cross_entropy.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mean.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "annuli/core/error.h"
#include "annuli/kernels/threads.h"
#include "tests/support/finite_difference.h"

namespace annuli::kernels {
namespace {

using test::random_tensor;
using test::relative_error;

at::Tensor random_targets(int64_t N, int64_t V) {
  at::Tensor targets = at::empty({N}, at::kLong);
  const CounterRng rng(3, "targets");
  for (int64_t n = 0; n < N; ++n) {
    targets.mutable_data_ptr<int64_t>()[n] =
        static_cast<int64_t>(rng.below(n, V));
  }
  return targets;
}

// 70 tokens in blocks of 32: two whole ones and a part; 3000 words: more than
// one partial sum.
struct Problem {
  explicit Problem(at::ScalarType dtype, int64_t N = 70, int64_t V = 3000)
      : inputs{random_tensor({N, 24}, "hidden", dtype),
               random_tensor({V, 24}, "head", dtype)},
        targets(random_targets(N, V)) {}

  test::TensorFunction fast(int64_t rows = 32) const {
    return [*this, rows](const auto& in) {
      return linear_cross_entropy(in[0], {in[1]}, targets, rows);
    };
  }
  test::TensorFunction plain() const {
    return [*this](const auto& in) {
      return reference::linear_cross_entropy(in[0], in[1], targets);
    };
  }

  std::vector<at::Tensor> inputs;
  at::Tensor targets;
};

class LinearCrossEntropyTypes : public testing::TestWithParam<at::ScalarType> {
};

TEST_P(LinearCrossEntropyTypes, AgreesWithReference) {
  const Problem problem(GetParam());
  const auto a = test::value_and_gradients(problem.fast(), problem.inputs);
  const auto b = test::value_and_gradients(problem.plain(), problem.inputs);
  // Logits (|.| < 5 sqrt(24) = 25) err by 24 * 25 eps at worst, and by
  // sqrt(24) * 25 = 122 eps in practice; probabilities by as much relatively.
  const double eps = GetParam() == at::kFloat ? 0x1p-23 : 0x1p-52;
  EXPECT_LE(relative_error(a.value, b.value), 122 * eps);
  EXPECT_LE(relative_error(a.gradients[0], b.gradients[0]), 122 * eps);
  EXPECT_LE(relative_error(a.gradients[1], b.gradients[1]), 122 * eps);
}

// At one number of threads: the matrix library splits a product over thousands
// of words between the threads, and then sums in another order.
TEST_P(LinearCrossEntropyTypes, SameBitsEveryTime) {
  const Problem problem(GetParam());
  set_num_threads(2);
  const auto one = test::value_and_gradients(problem.fast(), problem.inputs);
  const auto two = test::value_and_gradients(problem.fast(), problem.inputs);
  EXPECT_TRUE(test::same_bits(one.value, two.value));
  EXPECT_TRUE(test::same_bits(one.gradients[0], two.gradients[0]));
  EXPECT_TRUE(test::same_bits(one.gradients[1], two.gradients[1]));
}

INSTANTIATE_TEST_SUITE_P(Types, LinearCrossEntropyTypes,
                         testing::Values(at::kFloat, at::kDouble));

TEST(LinearCrossEntropy, GradientMatchesFiniteDifferences) {
  const Problem problem(at::kDouble, 3, 7);
  EXPECT_LE(test::finite_difference_error(problem.fast(2), problem.inputs),
            test::kFiniteDifferenceTolerance);
}

// Operands are rounded, each by 2^-9 at most, nothing else is: logits of size
// up to 25 then err by 25 * 2 * 2^-9 / sqrt(24) in practice.
TEST(LinearCrossEntropy, RoundedHeadComesClose) {
  const Problem problem(at::kFloat);
  const auto a = test::value_and_gradients(
      [&](const auto& in) {
        return linear_cross_entropy(in[0], {in[1], true}, problem.targets, 32);
      },
      problem.inputs);
  const auto b = test::value_and_gradients(problem.plain(), problem.inputs);
  EXPECT_LE(relative_error(a.value, b.value), 10 * 0x1p-9);
  EXPECT_GT(relative_error(a.gradients[1], b.gradients[1]), 122 * 0x1p-23);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(a.gradients[i].scalar_type(), at::kFloat);
    EXPECT_LE(relative_error(a.gradients[i], b.gradients[i]), 30 * 0x1p-9);
  }
  // Hidden states that are rounded already.
  EXPECT_TRUE(test::same_bits(
      a.value,
      linear_cross_entropy(narrowed(problem.inputs[0]),
                           {problem.inputs[1], true}, problem.targets, 32)));
}

TEST(LinearCrossEntropy, OneTokenOneWordIsFree) {
  const Problem problem(at::kFloat, 1, 1);
  const auto result = test::value_and_gradients(problem.fast(), problem.inputs);
  EXPECT_EQ(result.value.item<double>(), 0);
  EXPECT_EQ(result.gradients[1].abs().max().item<double>(), 0);
}

TEST(LinearCrossEntropy, UniformLogitsCostLogV) {
  const Problem problem(at::kFloat, 5, 50);
  at::Tensor loss = linear_cross_entropy(problem.inputs[0] * 0,
                                         problem.inputs[1], problem.targets);
  EXPECT_FLOAT_EQ(loss.item<float>(), std::log(50.0f));
}

TEST(LinearCrossEntropy, OneSideAloneGetsItsGradient) {
  const Problem problem(at::kDouble);
  at::Tensor hidden = problem.inputs[0].clone().requires_grad_(true);
  linear_cross_entropy(hidden, problem.inputs[1], problem.targets).backward();
  at::Tensor head = problem.inputs[1].clone().requires_grad_(true);
  linear_cross_entropy(problem.inputs[0], head, problem.targets).backward();
  EXPECT_TRUE(hidden.grad().defined());
  EXPECT_TRUE(head.grad().defined());
  EXPECT_FALSE(problem.inputs[0].grad().defined());
}

TEST(LinearCrossEntropy, WithoutGradientTheSameLossAndNoGraph) {
  const Problem problem(at::kFloat);
  at::Tensor hidden = problem.inputs[0].clone().requires_grad_(true);
  at::Tensor recorded =
      linear_cross_entropy(hidden, problem.inputs[1], problem.targets);
  const at::NoGradGuard no_grad;
  at::Tensor free =
      linear_cross_entropy(hidden, problem.inputs[1], problem.targets);
  EXPECT_TRUE(recorded.requires_grad());
  EXPECT_FALSE(free.requires_grad());
  EXPECT_TRUE(test::same_bits(recorded, free));
}

TEST(LinearCrossEntropy, PerTokenLossesAverageToTheLoss) {
  const Problem problem(at::kDouble);
  at::Tensor each = per_token_cross_entropy(
      problem.inputs[0], problem.inputs[1], problem.targets, 32);
  ASSERT_EQ(each.numel(), 70);
  at::Tensor mean = linear_cross_entropy(problem.inputs[0], problem.inputs[1],
                                         problem.targets, 32);
  EXPECT_LE(relative_error(at::mean(each), mean), 70 * 0x1p-52);
}

// A non-finite logit must not be hidden: training stops on the loss.
TEST(LinearCrossEntropy, NonFiniteInputGivesNonFiniteLoss) {
  for (float bad : {std::numeric_limits<float>::quiet_NaN(),
                    std::numeric_limits<float>::infinity()}) {
    const Problem problem(at::kFloat);
    problem.inputs[0].select(0, 40).fill_(bad);
    at::Tensor loss = linear_cross_entropy(problem.inputs[0], problem.inputs[1],
                                           problem.targets);
    EXPECT_FALSE(std::isfinite(loss.item<float>()));
  }
}

TEST(LinearCrossEntropy, RefusesATargetOutsideTheVocabulary) {
  const Problem problem(at::kFloat);
  problem.targets.select(0, 3).fill_(3000);
  EXPECT_THROW(linear_cross_entropy(problem.inputs[0], problem.inputs[1],
                                    problem.targets),
               CheckFailure);
}

}  // namespace
}  // namespace annuli::kernels
