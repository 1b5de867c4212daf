#include "annuli/kernels/optim/sgd.h"

#include <ATen/ops/zeros.h>
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <vector>

#include "annuli/core/error.h"
#include "annuli/kernels/optim/squared_norm.h"
#include "annuli/kernels/threads.h"
#include "tests/support/tensor_checks.h"

namespace annuli::kernels {
namespace {

using test::random_tensor;
using test::relative_error;
using test::same_bits;

struct Case {
  at::ScalarType weight, gradient;
  at::ScalarType kept;  // kByte: no momentum
  bool has_momentum() const { return kept != at::kByte; }
};

SgdStep step_number(int64_t t, bool momentum) {
  return {.learning_rate = 1e-2,
          .momentum = momentum ? 0.9 : 0,
          .decay = 1e-3,
          .gradient_scale = 0.5,
          .rounding = CounterRng(3, static_cast<uint64_t>(t))};
}

struct State {
  State(int64_t n, const Case& types)
      : p(random_tensor({n}, "p", types.weight)), types(types) {
    if (types.has_momentum()) m = at::zeros({n}, types.kept);
  }
  at::Tensor gradient(int64_t t) const {
    return random_tensor(p.sizes(), fmt::format("g{}", t), types.gradient);
  }
  at::Tensor p, m;
  Case types;
  double squares = 0;
};

template <typename Update>
State ten_steps(State state, const Update& update) {
  for (int64_t t = 1; t <= 10; ++t) {
    state.squares += update(state.p, state.gradient(t), state.m,
                            step_number(t, state.types.has_momentum()));
  }
  return state;
}

class SgdTypes : public testing::TestWithParam<Case> {};

// Six roundings a step; bf16 as in adamw_test.
TEST_P(SgdTypes, AgreesWithReference) {
  const State fast = ten_steps(State(5003, GetParam()), sgd);
  const State slow = ten_steps(State(5003, GetParam()), reference::sgd);
  const bool narrow =
      GetParam().weight == at::kBFloat16 || GetParam().kept == at::kBFloat16;
  const double limit =
      narrow ? 10 * 0x1p-7
             : 60 * (GetParam().weight == at::kDouble ? 0x1p-53 : 0x1p-24);
  EXPECT_LE(relative_error(fast.p, slow.p), limit);
  if (GetParam().has_momentum()) {
    EXPECT_LE(relative_error(fast.m, slow.m), limit);
  }
  EXPECT_NEAR(fast.squares, slow.squares, 1e-12 * slow.squares);
}

TEST_P(SgdTypes, SameBitsForAnyThreadCount) {
  set_num_threads(1);
  const State one = ten_steps(State(50001, GetParam()), sgd);
  set_num_threads(2);
  const State two = ten_steps(State(50001, GetParam()), sgd);
  EXPECT_TRUE(same_bits(one.p, two.p));
  EXPECT_EQ(one.squares, two.squares);
  EXPECT_FALSE(same_bits(one.p, State(50001, GetParam()).p));
}

std::vector<Case> all_cases() {
  std::vector<Case> cases = {{at::kDouble, at::kDouble, at::kDouble},
                             {at::kDouble, at::kDouble, at::kByte}};
  for (const auto weight : {at::kFloat, at::kBFloat16}) {
    for (const auto given : {at::kFloat, at::kBFloat16}) {
      for (const auto kept : {at::kFloat, at::kBFloat16, at::kByte}) {
        cases.push_back({weight, given, kept});
      }
    }
  }
  return cases;
}
INSTANTIATE_TEST_SUITE_P(
    Types, SgdTypes, testing::ValuesIn(all_cases()), [](const auto& info) {
      return fmt::format(
          "{}_{}_{}", c10::toString(info.param.weight),
          c10::toString(info.param.gradient),
          info.param.has_momentum() ? c10::toString(info.param.kept) : "none");
    });

TEST(Sgd, TenStepsFollowTheFormulas) {
  for (const auto kept : {at::kDouble, at::kByte}) {
    const Case types{at::kDouble, at::kDouble, kept};
    const State result = ten_steps(State(5, types), sgd);
    const State start(5, types);
    for (int64_t i = 0; i < 5; ++i) {
      double p = start.p[i].item<double>(), m = 0;
      for (int64_t t = 1; t <= 10; ++t) {
        const double g = 0.5 * start.gradient(t)[i].item<double>();
        m = (types.has_momentum() ? 0.9 : 0) * m + g;
        p -= 1e-3 * p + 1e-2 * m;
      }
      EXPECT_NEAR(result.p[i].item<double>(), p, 60 * 0x1p-53 * std::abs(p));
    }
  }
}

TEST(Sgd, MomentumNeedsItsState) {
  at::Tensor p = random_tensor({4}, "p"), none;
  EXPECT_THROW(sgd(p, p.clone(), none, step_number(1, true)), CheckFailure);
}

class SquaredNorm : public testing::TestWithParam<at::ScalarType> {};
INSTANTIATE_TEST_SUITE_P(Types, SquaredNorm,
                         testing::Values(at::kFloat, at::kDouble,
                                         at::kBFloat16));

// fp64 sums of 50001 squares in two orders.
TEST_P(SquaredNorm, AgreesWithReference) {
  const at::Tensor x = random_tensor({50001}, "x", GetParam());
  const double expected = reference::squared_norm(x);
  EXPECT_NEAR(squared_norm(x), expected, 50001 * 0x1p-53 * expected);
  EXPECT_NEAR(squared_norm(x.view({3, 16667}).t()), expected,
              50001 * 0x1p-53 * expected);
}

TEST_P(SquaredNorm, SameBitsForAnyThreadCount) {
  const at::Tensor x = random_tensor({50001}, "x", GetParam());
  set_num_threads(1);
  const double one = squared_norm(x);
  set_num_threads(2);
  EXPECT_EQ(squared_norm(x), one);
}

TEST(SquaredNorm, OfNothingIsZero) { EXPECT_EQ(squared_norm({}), 0); }

}  // namespace
}  // namespace annuli::kernels
