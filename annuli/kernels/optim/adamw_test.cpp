#include "annuli/kernels/optim/adamw.h"

#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

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

// Types of the weights, the gradient and the moments.
struct Types {
  at::ScalarType weight, gradient, moments;
};

struct State {
  State(int64_t n, const Types& types)
      : p(random_tensor({n}, "p", types.weight)),
        m(at::zeros({n}, types.moments)),
        v(at::zeros({n}, types.moments)),
        gradient_type(types.gradient) {}
  at::Tensor p, m, v;
  at::ScalarType gradient_type;
  double squares = 0;  // of all gradients
};

at::Tensor gradient(const State& state, int64_t t) {
  return random_tensor(state.p.sizes(), fmt::format("g{}", t),
                       state.gradient_type);
}

template <typename Update>
State ten_steps(State state, const Update& update) {
  for (int64_t t = 1; t <= 10; ++t) {
    state.squares +=
        update(state.p, gradient(state, t), state.m, state.v, step_number(t));
  }
  return state;
}

class AdamwTypes : public testing::TestWithParam<Types> {};

TEST_P(AdamwTypes, AgreesWithReference) {
  const Types types = GetParam();
  const State fast = ten_steps(State(5003, types), adamw);
  const State slow = ten_steps(State(5003, types), reference::adamw);
  // A dozen roundings a step, ten steps. What is stored in bf16 is rounded by
  // the same bits, but where the sums differ in their last bit an entry may
  // fall to the other neighbour, 2^-7 away; at ten steps of 2^-16 chances each
  // that happens to some of 5003 entries, and stays.
  const auto limit = [](at::ScalarType stored, at::ScalarType weight) {
    if (stored == at::kBFloat16 || weight == at::kBFloat16) return 10 * 0x1p-7;
    return 120 * (stored == at::kFloat ? 0x1p-24 : 0x1p-53);
  };
  const double of_moments = limit(types.moments, types.moments);
  const double of_weights = limit(types.moments, types.weight);
  EXPECT_LE(relative_error(fast.p, slow.p), of_weights);
  EXPECT_LE(relative_error(fast.m, slow.m), of_moments);
  EXPECT_LE(relative_error(fast.v, slow.v), of_moments);
  EXPECT_NEAR(fast.squares, slow.squares, 1e-12 * slow.squares);
  EXPECT_GE((fast.p == slow.p).to(at::kDouble).mean().item<double>(),
            types.weight == at::kBFloat16 ? 0.99 : 0.0);
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
  EXPECT_EQ(one.squares, two.squares);
  EXPECT_FALSE(test::same_bits(one.p, start.p));
}

std::vector<Types> all_types() {
  std::vector<Types> types = {{at::kDouble, at::kDouble, at::kDouble}};
  for (const auto weight : {at::kFloat, at::kBFloat16}) {
    for (const auto given : {at::kFloat, at::kBFloat16}) {
      for (const auto kept : {at::kFloat, at::kBFloat16}) {
        types.push_back({weight, given, kept});
      }
    }
  }
  return types;
}

INSTANTIATE_TEST_SUITE_P(Types, AdamwTypes, testing::ValuesIn(all_types()),
                         [](const auto& info) {
                           return fmt::format(
                               "{}_{}_{}", c10::toString(info.param.weight),
                               c10::toString(info.param.gradient),
                               c10::toString(info.param.moments));
                         });

constexpr Types kDoubles = {at::kDouble, at::kDouble, at::kDouble};

TEST(Adamw, TenStepsFollowTheFormulas) {
  const State result = ten_steps(State(5, kDoubles), adamw);
  State expected(5, kDoubles);
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

// bf16 weights must follow fp32 weights on average: a hundred steps, each a
// thousandth of the spacing of a weight near 1, all in one direction.
TEST(Adamw, Bf16WeightsKeepSmallUpdates) {
  at::Tensor p = at::ones({4096}, at::kBFloat16);
  at::Tensor m = at::zeros({4096}, at::kFloat), v = at::zeros_like(m);
  const at::Tensor g = at::ones({4096}, at::kFloat);
  for (int64_t t = 1; t <= 100; ++t) {
    AdamwStep step = step_number(t);
    step.learning_rate = 0x1p-7 / 1000;
    step.weight_decay = 0;
    step.rounding = CounterRng(1, static_cast<uint64_t>(t));
    adamw(p, g, m, v, step);
  }
  // Adam's step is the learning rate for a constant gradient. Deviation: below
  // sqrt(100 / 1000) spacings a walk, over sqrt(4096); five of them.
  const double moved = 1 - p.to(at::kDouble).mean().item<double>();
  EXPECT_NEAR(moved, 0.1 * 0x1p-7, 5 * 0.32 / 64 * 0x1p-7);
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
  State state(4, {at::kFloat, at::kFloat, at::kFloat});
  EXPECT_THROW(adamw(state.p, random_tensor({5}, "g", at::kFloat), state.m,
                     state.v, step_number(1)),
               CheckFailure);
}

}  // namespace
}  // namespace annuli::kernels
