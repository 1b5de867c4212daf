#include "annuli/kernels/adamw.h"

#include <ATen/ops/zeros_like.h>
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

AdamwStep step_number(int64_t t) {
  return {.learning_rate = 1e-2,
          .beta1 = 0.9,
          .beta2 = 0.95,
          .eps = 1e-8,
          .weight_decay = 0.1,
          .step = t,
          .gradient_scale = 0.5};
}

struct State {
  State(int64_t n, at::ScalarType dtype)
      : p(random_tensor({n}, "p", dtype)),
        m(at::zeros_like(p)),
        v(at::zeros_like(p)) {}
  at::Tensor p, m, v;
};

at::Tensor gradient(const State& state, int64_t t) {
  return random_tensor(state.p.sizes(), fmt::format("g{}", t),
                       state.p.scalar_type());
}

template <typename Update>
State ten_steps(State state, const Update& update) {
  for (int64_t t = 1; t <= 10; ++t) {
    update(state.p, gradient(state, t), state.m, state.v, step_number(t));
  }
  return state;
}

class AdamwTypes : public testing::TestWithParam<at::ScalarType> {};

TEST_P(AdamwTypes, AgreesWithReference) {
  const State fast = ten_steps(State(1003, GetParam()), adamw);
  const State slow = ten_steps(State(1003, GetParam()), reference::adamw);
  // A dozen roundings a step, ten steps.
  const double limit = 120 * (GetParam() == at::kFloat ? 0x1p-24 : 0x1p-53);
  EXPECT_LE(relative_error(fast.p, slow.p), limit);
  EXPECT_LE(relative_error(fast.m, slow.m), limit);
  EXPECT_LE(relative_error(fast.v, slow.v), limit);
}

TEST_P(AdamwTypes, SameBitsForAnyThreadCount) {
  // Three blocks and a part, so that two threads split unevenly.
  const State start(50001, GetParam());
  set_num_threads(1);
  const State one = ten_steps(State(50001, GetParam()), adamw);
  set_num_threads(2);
  const State two = ten_steps(State(50001, GetParam()), adamw);
  EXPECT_TRUE(test::same_bits(one.p, two.p));
  EXPECT_TRUE(test::same_bits(one.m, two.m));
  EXPECT_TRUE(test::same_bits(one.v, two.v));
  EXPECT_FALSE(test::same_bits(one.p, start.p));
}

INSTANTIATE_TEST_SUITE_P(Types, AdamwTypes,
                         testing::Values(at::kFloat, at::kDouble));

TEST(Adamw, TenStepsFollowTheFormulas) {
  const State result = ten_steps(State(5, at::kDouble), adamw);
  State expected(5, at::kDouble);
  for (int64_t i = 0; i < 5; ++i) {
    double p = expected.p[i].item<double>(), m = 0, v = 0;
    for (int64_t t = 1; t <= 10; ++t) {
      const double g = 0.5 * gradient(expected, t)[i].item<double>();
      p -= 1e-2 * 0.1 * p;
      m = 0.9 * m + (1 - 0.9) * g;
      v = 0.95 * v + (1 - 0.95) * g * g;
      p -= 1e-2 / (1 - std::pow(0.9, t)) * m /
           (std::sqrt(v) / std::sqrt(1 - std::pow(0.95, t)) + 1e-8);
    }
    EXPECT_NEAR(result.p[i].item<double>(), p, 120 * 0x1p-53 * std::abs(p));
  }
}

TEST(Adamw, ReadsATransposedGradient) {
  at::Tensor p = random_tensor({6, 8}, "p");
  at::Tensor q = p.clone();
  at::Tensor g = random_tensor({8, 6}, "g").t();
  at::Tensor m = at::zeros_like(p), v = at::zeros_like(p);
  adamw(p, g, m, v, step_number(1));
  m.zero_();
  v.zero_();
  adamw(q, g.contiguous(), m, v, step_number(1));
  EXPECT_TRUE(test::same_bits(p, q));
}

// A view with strides goes through the reference, into the view.
TEST(Adamw, UpdatesAStridedParameter) {
  at::Tensor whole = random_tensor({6, 8}, "p");
  at::Tensor before = whole.clone();
  at::Tensor p = whole.narrow(1, 0, 4);
  at::Tensor m = at::zeros_like(p), v = at::zeros_like(p);
  adamw(p, random_tensor({6, 4}, "g"), m, v, step_number(1));
  EXPECT_FALSE(test::same_bits(whole.narrow(1, 0, 4), before.narrow(1, 0, 4)));
  EXPECT_TRUE(test::same_bits(whole.narrow(1, 4, 4), before.narrow(1, 4, 4)));
}

TEST(Adamw, RefusesUnequalShapes) {
  State state(4, at::kFloat);
  EXPECT_THROW(adamw(state.p, random_tensor({5}, "g", at::kFloat), state.m,
                     state.v, step_number(1)),
               CheckFailure);
}

}  // namespace
}  // namespace annuli::kernels
