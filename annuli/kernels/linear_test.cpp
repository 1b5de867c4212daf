#include "annuli/kernels/linear.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/finite_difference.h"

namespace annuli::kernels {
namespace {

using test::random_tensor;
using test::relative_error;

// x; weights of a layer with a bias and of one without; the bias.
std::vector<at::Tensor> inputs(at::ScalarType type) {
  return {random_tensor({3, 11, 24}, "x", type),
          random_tensor({40, 24}, "w0", type),
          random_tensor({9, 24}, "w1", type), random_tensor({40}, "b", type)};
}

at::Tensor side_by_side(const std::vector<at::Tensor>& outputs) {
  return at::cat(outputs, -1);
}

test::TensorFunction fast(bool rounded) {
  return [rounded](const auto& in) {
    return side_by_side(
        linear(in[0], {{.matrix = {in[1], rounded}, .bias = in[3]},
                       {.matrix = {in[2], rounded}}}));
  };
}

at::Tensor plain(const std::vector<at::Tensor>& in) {
  return side_by_side({reference::linear(in[0], {in[1], in[3]}),
                       reference::linear(in[0], {in[2]})});
}

// Sums of up to 49 products of normal numbers, in another order.
constexpr double kTerms = 4 * 7;

TEST(Linear, AgreesWithReference) {
  for (const auto& [type, eps] :
       {std::pair{at::kFloat, 0x1p-23}, std::pair{at::kDouble, 0x1p-52}}) {
    const auto a = test::value_and_gradients(fast(false), inputs(type));
    const auto b = test::value_and_gradients(plain, inputs(type));
    EXPECT_LE(relative_error(a.value, b.value), kTerms * eps);
    for (size_t i = 0; i < 4; ++i) {
      EXPECT_LE(relative_error(a.gradients[i], b.gradients[i]), kTerms * eps)
          << i;
    }
  }
}

TEST(Linear, GradientMatchesFiniteDifferences) {
  const std::vector<at::Tensor> in{
      random_tensor({2, 2, 3}, "x"), random_tensor({4, 3}, "w0"),
      random_tensor({2, 3}, "w1"), random_tensor({4}, "b")};
  EXPECT_LE(test::finite_difference_error(fast(false), in),
            test::kFiniteDifferenceTolerance);
}

TEST(Linear, RoundsOperandsAndNothingElse) {
  const auto in = inputs(at::kFloat);
  const auto found = test::value_and_gradients(fast(true), in);
  const auto rounded = [](const at::Tensor& t) {
    return t.to(at::kBFloat16).to(at::kDouble);
  };
  const at::Tensor y =
      side_by_side({reference::linear(in[0], {{in[1], true}, in[3]}),
                    reference::linear(in[0], {{in[2], true}})});
  EXPECT_LE(relative_error(found.value, y), kTerms * 0x1p-23);
  const at::Tensor dy =
      random_tensor({3, 11, 49}, "weights", at::kFloat).view({33, 49});
  const at::Tensor w = rounded(at::cat({in[1], in[2]}));
  const at::Tensor x = rounded(in[0]).view({33, 24});
  const at::Tensor dx = at::matmul(rounded(dy), w);
  const at::Tensor dw = at::matmul(rounded(dy).t(), x);
  EXPECT_LE(relative_error(found.gradients[0].view({33, 24}), dx),
            kTerms * 0x1p-23);
  const at::Tensor dweights = at::cat({found.gradients[1], found.gradients[2]});
  EXPECT_LE(relative_error(dweights, dw), kTerms * 0x1p-23);
  EXPECT_LE(relative_error(found.gradients[3], dy.narrow(1, 0, 40).sum(0)),
            kTerms * 0x1p-23);
  // The control: unrounded operands are seen.
  EXPECT_GT(relative_error(at::matmul(dy.t(), in[0].view({33, 24})), dw),
            kTerms * 0x1p-23);
}

// A weight may come with its rounded copy, and x may be rounded already.
TEST(Linear, WhatIsRoundedAlreadyGivesTheSameBits) {
  const auto in = inputs(at::kFloat);
  const LinearLayer layer{{in[1], true}, in[3]};
  const LinearLayer with_copy{{in[1], true, narrowed(in[1])}, in[3]};
  const at::Tensor y = linear(in[0], {layer})[0];
  EXPECT_TRUE(test::same_bits(y, linear(in[0], {with_copy})[0]));
  EXPECT_TRUE(test::same_bits(y, linear(narrowed(in[0]), {layer})[0]));
}

TEST(Linear, SameBitsForAnyNumberOfThreads) {
  for (bool rounded : {false, true}) {
    EXPECT_TRUE(
        test::same_bits_for_any_threads(fast(rounded), inputs(at::kFloat)));
  }
}

}  // namespace
}  // namespace annuli::kernels
