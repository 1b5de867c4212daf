#include "annuli/kernels/optim/muon.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <vector>

#include "annuli/core/error.h"
#include "annuli/kernels/optim/newton_schulz.h"
#include "annuli/kernels/threads.h"
#include "tests/support/tensor_checks.h"

namespace annuli::kernels {
namespace {

using test::random_tensor;
using test::relative_error;
using test::same_bits;

struct Case {
  at::ScalarType weight, gradient, kept;
};

MuonStep step_number(int64_t t) {
  return {.learning_rate = 1e-2,
          .momentum = 0.9,
          .decay = 1e-3,
          .eps = kMuonEps,
          .gradient_scale = 0.5,
          .rounding = CounterRng(3, static_cast<uint64_t>(t))};
}

struct State {
  explicit State(const Case& types, int64_t rows = 70, int64_t columns = 90)
      : p(random_tensor({rows, columns}, "p", types.weight)),
        m(at::zeros({rows, columns}, types.kept)),
        types(types) {}
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
    state.squares +=
        update(state.p, state.gradient(t), state.m, step_number(t));
  }
  return state;
}

class MuonTypes : public testing::TestWithParam<Case> {};

// The update's error is newton_schulz_test.cpp's, of a rate of 1e-2, ten times,
// beside entries of size 1; bf16 as in adamw_test, where a momentum that falls
// to the other neighbour moves all entries.
TEST_P(MuonTypes, AgreesWithReference) {
  const State fast = ten_steps(State(GetParam()), muon);
  const State slow = ten_steps(State(GetParam()), reference::muon);
  const bool narrow =
      GetParam().weight == at::kBFloat16 || GetParam().kept == at::kBFloat16;
  const double unit = GetParam().weight == at::kDouble ? 0x1p-53 : 0x1p-24;
  EXPECT_LE(relative_error(fast.p, slow.p), narrow ? 10 * 0x1p-7 : 600 * unit);
  EXPECT_LE(relative_error(fast.m, slow.m), narrow ? 10 * 0x1p-7 : 60 * unit);
  EXPECT_NEAR(fast.squares, slow.squares, 1e-12 * slow.squares);
}

// The library's products of fp64 are others for other numbers of threads.
TEST_P(MuonTypes, SameBitsForAnyThreadCount) {
  if (GetParam().weight == at::kDouble) GTEST_SKIP() << "fp64";
  set_num_threads(1);
  const State one = ten_steps(State(GetParam(), 150, 300), muon);
  set_num_threads(2);
  const State two = ten_steps(State(GetParam(), 150, 300), muon);
  EXPECT_TRUE(same_bits(one.p, two.p));
  EXPECT_EQ(one.squares, two.squares);
  EXPECT_FALSE(same_bits(one.p, State(GetParam(), 150, 300).p));
}

std::vector<Case> all_cases() {
  std::vector<Case> cases = {{at::kDouble, at::kDouble, at::kDouble}};
  for (const auto weight : {at::kFloat, at::kBFloat16}) {
    for (const auto given : {at::kFloat, at::kBFloat16}) {
      for (const auto kept : {at::kFloat, at::kBFloat16}) {
        cases.push_back({weight, given, kept});
      }
    }
  }
  return cases;
}
INSTANTIATE_TEST_SUITE_P(Types, MuonTypes, testing::ValuesIn(all_cases()),
                         [](const auto& info) {
                           return fmt::format(
                               "{}_{}_{}", c10::toString(info.param.weight),
                               c10::toString(info.param.gradient),
                               c10::toString(info.param.kept));
                         });

constexpr Case kDoubles = {at::kDouble, at::kDouble, at::kDouble};

TEST(Muon, TenStepsFollowTheFormulas) {
  const State result = ten_steps(State(kDoubles), muon);
  const State start(kDoubles);
  at::Tensor p = start.p.clone();
  at::Tensor m = at::zeros(p.sizes(), at::kDouble);
  for (int64_t t = 1; t <= 10; ++t) {
    const at::Tensor g = start.gradient(t) * 0.5;
    m = m * 0.9 + g * 0.1;
    at::Tensor u = m * 0.9 + g * 0.1;
    reference::orthogonalize(u, kMuonEps);
    p = p - p * 1e-3 - u * 1e-2;
  }
  EXPECT_LE(relative_error(result.p, p), 600 * 0x1p-53);
}

// Two matrices, rows of three in turn, are moved as if they were apart.
TEST(Muon, MatricesInTurnAreMatricesOfTheirOwn) {
  MuonStep step = step_number(1);
  step.matrices = 2;
  step.rows = 3;
  for (const auto& update : {muon, reference::muon}) {
    State fused(kDoubles, 12, 5);
    const at::Tensor start = fused.p.clone();
    update(fused.p, fused.gradient(1), fused.m, step);
    for (int64_t i = 0; i < 2; ++i) {
      const auto part = [&](const at::Tensor& x) {
        return x.view({2, 2, 3, 5}).select(1, i).reshape({6, 5}).clone();
      };
      at::Tensor p = part(start);
      at::Tensor m = at::zeros({6, 5}, at::kDouble);
      update(p, part(fused.gradient(1)), m, step_number(1));
      EXPECT_LE(relative_error(part(fused.p), p), 60 * 0x1p-53);
    }
    State whole(kDoubles, 12, 5);
    update(whole.p, whole.gradient(1), whole.m, step_number(1));
    EXPECT_GT(relative_error(whole.p, fused.p), 1e-4);
  }
}

TEST(Muon, TakesMatricesAlone) {
  at::Tensor p = random_tensor({4}, "p");
  at::Tensor m = at::zeros({4}, at::kDouble);
  EXPECT_THROW(muon(p, p.clone(), m, step_number(1)), CheckFailure);
  State state(kDoubles, 4, 5);
  MuonStep step = step_number(1);
  step.matrices = 3;
  step.rows = 1;
  EXPECT_THROW(muon(state.p, state.gradient(1), state.m, step), CheckFailure);
}

}  // namespace
}  // namespace annuli::kernels
