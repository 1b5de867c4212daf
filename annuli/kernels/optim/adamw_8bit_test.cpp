#include "annuli/kernels/optim/adamw_8bit.h"

#include <ATen/ops/zeros.h>
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cmath>

#include "annuli/core/error.h"
#include "annuli/kernels/threads.h"
#include "tests/support/tensor_checks.h"

namespace annuli::kernels {
namespace {

using test::random_tensor;
using test::relative_error;
using test::same_bits;

AdamwStep step_number(int64_t t) {
  return {.learning_rate = 1e-2,
          .beta1 = 0.9,
          .beta2 = 0.95,
          .eps = 1e-8,
          .weight_decay = 0.1,
          .step = t,
          .gradient_scale = 0.5,
          .rounding = CounterRng(3, static_cast<uint64_t>(t))};
}

Quantized none(int64_t n) {
  return {at::zeros({n}, at::kByte),
          at::zeros({quantized_blocks(n)}, at::kFloat)};
}

struct State {
  State(int64_t n, at::ScalarType weight, at::ScalarType given)
      : p(random_tensor({n}, "p", weight)),
        m(none(n)),
        v(none(n)),
        gradient_type(given) {}
  at::Tensor p;
  Quantized m, v;
  at::ScalarType gradient_type;
  double squares = 0;

  at::Tensor gradient(int64_t t) const {
    return random_tensor(p.sizes(), fmt::format("g{}", t), gradient_type);
  }
};

template <typename Update>
State steps(State state, int64_t first, int64_t last, const Update& update) {
  for (int64_t t = first; t <= last; ++t) {
    state.squares +=
        update(state.p, state.gradient(t), state.m, state.v, step_number(t));
  }
  return state;
}

class Adamw8bitTypes : public testing::TestWithParam<
                           std::tuple<at::ScalarType, at::ScalarType>> {
 protected:
  State start(int64_t n) const {
    return {n, std::get<0>(GetParam()), std::get<1>(GetParam())};
  }
};
INSTANTIATE_TEST_SUITE_P(
    Types, Adamw8bitTypes,
    testing::Combine(testing::Values(at::kFloat, at::kBFloat16),
                     testing::Values(at::kFloat, at::kBFloat16)));

// Where a moment's last bit differs, its code may be the next one. One step
// from a common start: a dozen roundings of the weights, and of 5003 codes no
// more than a few at a border.
TEST_P(Adamw8bitTypes, AgreesWithReference) {
  const State base = steps(start(5003), 1, 5, reference::adamw_8bit);
  State copy = base;
  copy.p = base.p.clone();
  copy.m = {base.m.codes.clone(), base.m.scales.clone()};
  copy.v = {base.v.codes.clone(), base.v.scales.clone()};
  const State slow = steps(base, 6, 6, reference::adamw_8bit);
  const State fast = steps(copy, 6, 6, adamw_8bit);
  const bool narrow = fast.p.scalar_type() == at::kBFloat16;
  EXPECT_LE(relative_error(fast.p, slow.p), narrow ? 0x1p-7 : 12 * 0x1p-24);
  const auto differing = [](const Quantized& a, const Quantized& b) {
    const at::Tensor distance =
        (a.codes.to(at::kInt) - b.codes.to(at::kInt)).abs();
    EXPECT_LE(distance.max().item<int>(), 1);
    return distance.sum().item<int64_t>();
  };
  EXPECT_LE(differing(fast.m, slow.m), 3);
  EXPECT_LE(differing(fast.v, slow.v), 3);
  EXPECT_LE(relative_error(fast.m.scales, slow.m.scales), 4 * 0x1p-24);
  EXPECT_LE(relative_error(fast.v.scales, slow.v.scales), 4 * 0x1p-24);
  EXPECT_NEAR(fast.squares, slow.squares, 1e-12 * slow.squares);
}

TEST_P(Adamw8bitTypes, SameBitsForAnyThreadCount) {
  set_num_threads(1);
  const State one = steps(start(50001), 1, 10, adamw_8bit);
  set_num_threads(2);
  const State two = steps(start(50001), 1, 10, adamw_8bit);
  EXPECT_TRUE(same_bits(one.p, two.p));
  EXPECT_TRUE(same_bits(one.m.codes, two.m.codes));
  EXPECT_TRUE(same_bits(one.v.codes, two.v.codes));
  EXPECT_TRUE(same_bits(one.v.scales, two.v.scales));
  EXPECT_EQ(one.squares, two.squares);
  EXPECT_FALSE(same_bits(one.p, start(50001).p));
}

// The way of the weights stays near that of AdamW in fp32. A first moment is
// off by at most 0.7 % of its block's largest a step and forgets in ten, so by
// 7 %; the root of the second alike by some 4 %: a tenth of the way.
TEST(Adamw8bit, StaysNearAdamw) {
  const int64_t n = 4096;
  const State coded =
      steps(State(n, at::kFloat, at::kFloat), 1, 30, adamw_8bit);
  at::Tensor p = random_tensor({n}, "p", at::kFloat);
  at::Tensor m = at::zeros({n}, at::kFloat), v = at::zeros({n}, at::kFloat);
  const at::Tensor before = p.clone();
  for (int64_t t = 1; t <= 30; ++t) {
    adamw(p, coded.gradient(t), m, v, step_number(t));
  }
  const double way = (p - before).norm().item<double>();
  const double apart = (coded.p - p).norm().item<double>();
  EXPECT_LE(apart, 0.1 * way);
  EXPECT_GT(apart, 1e-4 * way) << "not coded at all";
}

TEST(Adamw8bit, RefusesFp64) {
  State state(4, at::kDouble, at::kDouble);
  EXPECT_THROW(
      adamw_8bit(state.p, state.gradient(1), state.m, state.v, step_number(1)),
      CheckFailure);
}

}  // namespace
}  // namespace annuli::kernels
