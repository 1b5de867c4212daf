#include "annuli/kernels/feed_forward.h"

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include "tests/support/finite_difference.h"

namespace annuli::kernels {
namespace {

using test::random_tensor;
using test::relative_error;

struct Case {
  const char* name;
  bool gated;
  bool biased;
};

// x, up, down, then gate and the biases where there are any.
std::vector<at::Tensor> inputs(const Case& c, at::ScalarType type,
                               int64_t N = 33, int64_t D = 24, int64_t F = 40) {
  std::vector<at::Tensor> in{random_tensor({N, D}, "x", type),
                             random_tensor({F, D}, "up", type) * 0.3,
                             random_tensor({D, F}, "down", type) * 0.3};
  if (c.gated) in.push_back(random_tensor({F, D}, "gate", type) * 0.3);
  if (!c.biased) return in;
  in.push_back(random_tensor({F}, "up_bias", type));
  in.push_back(random_tensor({D}, "down_bias", type));
  if (c.gated) in.push_back(random_tensor({F}, "gate_bias", type));
  return in;
}

FeedForward layer_of(const Case& c, const std::vector<at::Tensor>& in,
                     bool rounded) {
  FeedForward layer{.up = {{in[1], rounded}}, .down = {{in[2], rounded}}};
  layer.kind = c.gated ? Activation::kSilu : Activation::kGelu;
  const size_t biases = c.gated ? 4 : 3;
  if (c.gated) layer.gate.matrix = {in[3], rounded};
  if (!c.biased) return layer;
  layer.up.bias = in[biases];
  layer.down.bias = in[biases + 1];
  if (c.gated) layer.gate.bias = in[biases + 2];
  return layer;
}

class FeedForwardCases : public testing::TestWithParam<Case> {
 protected:
  test::TensorFunction fast(bool rounded = false) const {
    return [c = GetParam(), rounded](const auto& in) {
      return feed_forward(in[0], layer_of(c, in, rounded));
    };
  }
  test::TensorFunction plain() const {
    return [c = GetParam()](const auto& in) {
      return reference::feed_forward(in[0], layer_of(c, in, false));
    };
  }
};

// Two products of up to 40 terms of size 1 behind each other, and back: some
// sqrt(40) roundings of the largest of them each, four in a row.
TEST_P(FeedForwardCases, AgreesWithReference) {
  for (const auto& [type, eps] :
       {std::pair{at::kFloat, 0x1p-23}, std::pair{at::kDouble, 0x1p-52}}) {
    const auto in = inputs(GetParam(), type);
    const auto a = test::value_and_gradients(fast(), in);
    const auto b = test::value_and_gradients(plain(), in);
    EXPECT_LE(relative_error(a.value, b.value), 26 * eps);
    for (size_t i = 0; i < in.size(); ++i) {
      EXPECT_LE(relative_error(a.gradients[i], b.gradients[i]), 26 * eps) << i;
    }
  }
}

TEST_P(FeedForwardCases, GradientMatchesFiniteDifferences) {
  EXPECT_LE(test::finite_difference_error(
                fast(), inputs(GetParam(), at::kDouble, 3, 2, 4)),
            test::kFiniteDifferenceTolerance);
}

// Each operand is off by at most 2^-9 of itself: two in a product, two
// products, and as much again on the way back; what is kept is rounded too.
TEST_P(FeedForwardCases, RoundedProductsComeClose) {
  const auto in = inputs(GetParam(), at::kFloat);
  const auto a = test::value_and_gradients(fast(true), in);
  const auto b = test::value_and_gradients(plain(), in);
  EXPECT_LE(relative_error(a.value, b.value), 4 * 0x1p-9);
  EXPECT_GT(relative_error(a.value, b.value), 26 * 0x1p-23);  // the control
  for (size_t i = 0; i < in.size(); ++i) {
    EXPECT_LE(relative_error(a.gradients[i], b.gradients[i]), 10 * 0x1p-9) << i;
  }
}

TEST_P(FeedForwardCases, SameBitsForAnyNumberOfThreads) {
  for (bool rounded : {false, true}) {
    EXPECT_TRUE(test::same_bits_for_any_threads(
        fast(rounded), inputs(GetParam(), at::kFloat, 200, 64, 256)));
  }
}

INSTANTIATE_TEST_SUITE_P(All, FeedForwardCases,
                         testing::Values(Case{"ungated", false, false},
                                         Case{"gated", true, false},
                                         Case{"ungated_biased", false, true},
                                         Case{"gated_biased", true, true}),
                         [](const auto& info) {
                           return std::string(info.param.name);
                         });

}  // namespace
}  // namespace annuli::kernels
