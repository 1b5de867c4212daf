#include "annuli/kernels/optim/adafactor.h"

#include <ATen/ops/zeros.h>
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "annuli/kernels/threads.h"
#include "tests/support/tensor_checks.h"

namespace annuli::kernels {
namespace {

using test::random_tensor;
using test::relative_error;
using test::same_bits;

AdafactorStep step_number(int64_t t) {
  return {.learning_rate = 1e-2,
          .decay_rate = 0.8,
          .eps = kAdafactorEps,
          .clip_threshold = 0.5,
          .scale_parameter = true,
          .least_rms = kAdafactorLeastRms,
          .weight_decay = 0.1,
          .step = t,
          .gradient_scale = 0.5,
          .rounding = CounterRng(3, static_cast<uint64_t>(t))};
}

struct Types {
  at::ScalarType weight, gradient;
};

struct State {
  State(int64_t rows, int64_t columns, const Types& types)
      : p(random_tensor({rows, columns}, "p", types.weight)),
        rows(at::zeros({rows}, factor_type(types))),
        columns(at::zeros({columns}, factor_type(types))),
        gradient_type(types.gradient) {}
  static at::ScalarType factor_type(const Types& types) {
    return types.weight == at::kDouble ? at::kDouble : at::kFloat;
  }
  at::Tensor gradient(int64_t t) const {
    return random_tensor(p.sizes(), fmt::format("g{}", t), gradient_type);
  }
  at::Tensor p, rows, columns;
  at::ScalarType gradient_type;
  double squares = 0;
};

using Function = double (*)(at::Tensor&, const at::Tensor&, at::Tensor&,
                            at::Tensor&, const AdafactorStep&);

State ten_steps(State state, Function update) {
  for (int64_t t = 1; t <= 10; ++t) {
    state.squares += update(state.p, state.gradient(t), state.rows,
                            state.columns, step_number(t));
  }
  return state;
}

class AdafactorTypes : public testing::TestWithParam<Types> {};
INSTANTIATE_TEST_SUITE_P(Types, AdafactorTypes,
                         testing::Values(Types{at::kDouble, at::kDouble},
                                         Types{at::kFloat, at::kFloat},
                                         Types{at::kFloat, at::kBFloat16},
                                         Types{at::kBFloat16, at::kFloat},
                                         Types{at::kBFloat16, at::kBFloat16}),
                         [](const auto& info) {
                           return fmt::format(
                               "{}_{}", c10::toString(info.param.weight),
                               c10::toString(info.param.gradient));
                         });

// Means of up to 203 squares, ten steps of two dozen roundings. bf16 as in
// adamw_test.
TEST_P(AdafactorTypes, AgreesWithReference) {
  const State fast = ten_steps({203, 37, GetParam()}, adafactor);
  const State slow = ten_steps({203, 37, GetParam()}, reference::adafactor);
  const double unit = GetParam().weight == at::kDouble ? 0x1p-53 : 0x1p-24;
  const double limit = (203 + 240) * unit;
  EXPECT_LE(relative_error(fast.p, slow.p),
            GetParam().weight == at::kBFloat16 ? 10 * 0x1p-7 : limit);
  EXPECT_LE(relative_error(fast.rows, slow.rows), limit);
  EXPECT_LE(relative_error(fast.columns, slow.columns), limit);
  EXPECT_NEAR(fast.squares, slow.squares, 1e-12 * slow.squares);
}

// More tasks than two, rows that end within a chunk of the noise.
TEST_P(AdafactorTypes, SameBitsForAnyThreadCount) {
  set_num_threads(1);
  const State one = ten_steps({700, 130, GetParam()}, adafactor);
  set_num_threads(2);
  const State two = ten_steps({700, 130, GetParam()}, adafactor);
  EXPECT_TRUE(same_bits(one.p, two.p));
  EXPECT_TRUE(same_bits(one.rows, two.rows));
  EXPECT_TRUE(same_bits(one.columns, two.columns));
  EXPECT_EQ(one.squares, two.squares);
  EXPECT_FALSE(same_bits(one.p, State(700, 130, GetParam()).p));
}

double entry(const at::Tensor& x, int64_t i, int64_t j) {
  return x[i][j].item<double>();
}

double rms(const at::Tensor& x) {
  double sum = 0;
  for (int64_t i = 0; i < x.size(0); ++i) {
    for (int64_t j = 0; j < x.size(1); ++j) sum += std::pow(entry(x, i, j), 2);
  }
  return std::sqrt(sum / static_cast<double>(x.numel()));
}

// Algorithm 4 of the paper, one entry at a time.
TEST(Adafactor, TenStepsFollowTheFormulas) {
  const int64_t R = 3, C = 4;
  const State result = ten_steps({R, C, {at::kDouble, at::kDouble}}, adafactor);
  State state(R, C, {at::kDouble, at::kDouble});
  std::vector<double> rows(R), columns(C);
  for (int64_t t = 1; t <= 10; ++t) {
    const AdafactorStep step = step_number(t);
    const at::Tensor g = state.gradient(t) * step.gradient_scale;
    const double b = 1 - std::pow(static_cast<double>(t), -0.8);
    for (double& row : rows) row *= b;
    for (double& column : columns) column *= b;
    for (int64_t i = 0; i < R; ++i) {
      for (int64_t j = 0; j < C; ++j) {
        const double square = std::pow(entry(g, i, j), 2) + kAdafactorEps;
        rows[i] += (1 - b) * square / C;
        columns[j] += (1 - b) * square / R;
      }
    }
    const double mean = (rows[0] + rows[1] + rows[2]) / R;
    at::Tensor u = g.clone();
    for (int64_t i = 0; i < R; ++i) {
      for (int64_t j = 0; j < C; ++j) {
        u[i][j] = entry(g, i, j) / std::sqrt(rows[i] * columns[j] / mean);
      }
    }
    const double rate =
        step.learning_rate * std::max(step.least_rms, rms(state.p));
    const double clip = std::max(1.0, rms(u) / step.clip_threshold);
    EXPECT_GT(clip, 1) << "clipping is part of what is tested";
    state.p = state.p - rate * step.weight_decay * state.p - rate / clip * u;
  }
  EXPECT_LE(relative_error(result.p, state.p), 500 * 0x1p-53);
}

// What the factors keep of v is exact where v has rank one.
TEST(Adafactor, IsAdamsStepForARankOneGradient) {
  State state(5, 7, {at::kDouble, at::kDouble});
  const at::Tensor g = random_tensor({5}, "a").abs().unsqueeze(1) *
                       random_tensor({7}, "b").unsqueeze(0);
  AdafactorStep step = step_number(1);
  step.clip_threshold = 100;
  step.scale_parameter = false;
  step.weight_decay = 0;
  const at::Tensor before = state.p.clone();
  adafactor(state.p, g, state.rows, state.columns, step);
  EXPECT_LE(relative_error(before - state.p, g.sign() * step.learning_rate),
            1e-12);
}

TEST(Adafactor, AVectorKeepsItsSecondMoment) {
  at::Tensor p = random_tensor({50}, "p"), v = at::zeros({50}, at::kDouble);
  const at::Tensor before = p.clone();
  const at::Tensor g = random_tensor({50}, "g");
  AdafactorStep step = step_number(1);
  step.clip_threshold = 100;
  step.scale_parameter = false;
  const double squares = adafactor(p, g, v, step);
  EXPECT_LE(relative_error(v, g.square() / 4), 1e-12);
  EXPECT_LE(relative_error(p, before * (1 - 1e-2 * 0.1) - g.sign() * 1e-2),
            1e-12);
  EXPECT_NEAR(squares, g.square().sum().item<double>(), 1e-12 * squares);
}

}  // namespace
}  // namespace annuli::kernels
