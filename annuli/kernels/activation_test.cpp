#include "annuli/kernels/activation.h"

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "annuli/core/error.h"
#include "annuli/kernels/cpu/vector_erf.h"
#include "annuli/kernels/product.h"
#include "annuli/kernels/threads.h"
#include "tests/support/tensor_checks.h"

namespace annuli::kernels {
namespace {

using test::random_tensor;
using test::relative_error;

struct Case {
  const char* name;
  Activation kind;
  bool gated;
};

class ActivationKernel : public testing::TestWithParam<Case> {
 protected:
  Activation kind() const { return GetParam().kind; }
  at::Tensor x(at::ScalarType type) const {
    return random_tensor({37, 501}, "x", type) * 3;
  }
  at::Tensor gate(at::ScalarType type) const {
    return GetParam().gated ? random_tensor({37, 501}, "gate", type) * 3
                            : at::Tensor();
  }
  at::Tensor dout(at::ScalarType type) const {
    return random_tensor({37, 501}, "weights", type);
  }
  test::ValueAndGradients plain(at::ScalarType type) const {
    std::vector<at::Tensor> in{x(type)};
    if (GetParam().gated) in.push_back(gate(type));
    return test::value_and_gradients(
        [&](const auto& leaves) {
          return reference::activate(
              kind(), leaves[0], GetParam().gated ? leaves[1] : at::Tensor());
        },
        in);
  }
};

// Both are good to a few roundings of their own size, which is at most that of
// the largest entry: 2 of the exponential, 4 of the polynomial before it, one
// each of the sum, the division and up to three products. The library's fp64
// error function is no better.
TEST_P(ActivationKernel, AgreesWithReference) {
  for (const auto& [type, eps] :
       {std::pair{at::kFloat, 0x1p-23}, std::pair{at::kDouble, 0x1p-52}}) {
    const Activated forward =
        activate(kind(), x(type), gate(type), false, true);
    const ActivationGradients back = activate_backward(
        kind(), dout(type), forward.kept_x, forward.kept_gate, false);
    const auto expected = plain(type);
    EXPECT_LE(relative_error(forward.out, expected.value), 11 * eps);
    EXPECT_TRUE(test::same_bits(back.out, forward.out));
    EXPECT_LE(relative_error(back.dx, expected.gradients[0]), 11 * eps);
    if (!GetParam().gated) continue;
    EXPECT_LE(relative_error(back.dgate, expected.gradients[1]), 11 * eps);
  }
}

// Results are the fp32 ones rounded once; the backward pass starts from rounded
// inputs.
TEST_P(ActivationKernel, RoundsWhatGoesToProducts) {
  const at::Tensor in = x(at::kFloat), by = gate(at::kFloat);
  const Activated narrow = activate(kind(), in, by, true, true);
  const Activated wide = activate(kind(), in, by, false, true);
  EXPECT_TRUE(test::same_bits(narrow.out, operand(wide.out)));
  EXPECT_TRUE(test::same_bits(narrow.kept_x, narrowed(in)));
  const ActivationGradients rounded = activate_backward(
      kind(), dout(at::kFloat), narrow.kept_x, narrow.kept_gate, true);
  const ActivationGradients full = activate_backward(
      kind(), dout(at::kFloat), narrow.kept_x.to(at::kFloat),
      by.defined() ? narrow.kept_gate.to(at::kFloat) : by, false);
  EXPECT_TRUE(test::same_bits(rounded.out, operand(full.out)));
  EXPECT_TRUE(test::same_bits(rounded.dx, operand(full.dx)));
  if (!by.defined()) return;
  EXPECT_TRUE(test::same_bits(narrow.kept_gate, narrowed(by)));
  EXPECT_TRUE(test::same_bits(rounded.dgate, operand(full.dgate)));
}

TEST_P(ActivationKernel, SameBitsForAnyNumberOfThreads) {
  const at::Tensor in = x(at::kFloat), by = gate(at::kFloat);
  set_num_threads(1);
  const auto one = activate_backward(kind(), dout(at::kFloat), in, by, false);
  set_num_threads(2);
  const auto two = activate_backward(kind(), dout(at::kFloat), in, by, false);
  EXPECT_TRUE(test::same_bits(one.out, two.out));
  EXPECT_TRUE(test::same_bits(one.dx, two.dx));
  if (by.defined()) {
    EXPECT_TRUE(test::same_bits(one.dgate, two.dgate));
  }
}

TEST_P(ActivationKernel, KeepsNonFiniteNumbers) {
  at::Tensor in = x(at::kFloat), by = gate(at::kFloat);
  in.select(0, 1).fill_(std::numeric_limits<float>::quiet_NaN());
  const at::Tensor out = activate(kind(), in, by, false, false).out;
  EXPECT_TRUE(out.select(0, 0).isfinite().all().item<bool>());
  EXPECT_TRUE(out.select(0, 1).isnan().all().item<bool>());
}

INSTANTIATE_TEST_SUITE_P(
    All, ActivationKernel,
    testing::Values(Case{"gelu", Activation::kGelu, false},
                    Case{"silu", Activation::kSilu, false},
                    Case{"relu2", Activation::kRelu2, false},
                    Case{"gelu_gated", Activation::kGelu, true},
                    Case{"silu_gated", Activation::kSilu, true},
                    Case{"relu2_gated", Activation::kRelu2, true}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(ActivationOfNoKind, IsRefusedAndNotLeftUninitialised) {
  const auto none = static_cast<Activation>(99);
  const at::Tensor x = random_tensor({3}, "x");
  EXPECT_THROW(activate(none, x, {}, false, false), CheckFailure);
  EXPECT_THROW(activate_backward(none, x, x, {}, false), CheckFailure);
  EXPECT_THROW(reference::activate(none, x, {}), CheckFailure);
}

// The header's promise, on a grid of the range where Phi is above 1e-9.
TEST(NormalCdf, KeepsTheLeadingDigitsOfBothTails) {
  for (int i = -6000; i <= 6000; ++i) {
    const float x = 1e-3f * static_cast<float>(i);
    const double exact = normal_cdf(static_cast<double>(x));
    EXPECT_NEAR(normal_cdf(x) / exact, 1, 2e-6) << x;
  }
  EXPECT_EQ(normal_cdf(-12.0f), 0);
  EXPECT_EQ(normal_cdf(12.0f), 1);
  EXPECT_TRUE(std::isnan(normal_cdf(std::nanf(""))));
}

}  // namespace
}  // namespace annuli::kernels
