#include "annuli/kernels/quantize/stochastic_rounding.h"

#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "annuli/kernels/cpu/random_words.h"
#include "annuli/kernels/threads.h"
#include "tests/support/tensor_checks.h"

namespace annuli::kernels {
namespace {

using test::random_tensor;
using test::same_bits;

at::Tensor rounded(const at::Tensor& values, const CounterRng& rng,
                   Operand operand = Operand::kWeight) {
  at::Tensor target = at::empty(values.sizes(), at::kBFloat16);
  round_stochastically(values, rng, operand, target);
  return target;
}

TEST(RandomWords, AreTheGeneratorsBlocks) {
  const CounterRng rng(3, "words");
  RandomWords words;
  random_words(rng, (uint64_t{1} << 32) - 100, words);
  for (uint64_t b = 0; b < kRandomBlocks; ++b) {
    const auto block = rng.block((uint64_t{1} << 32) - 100 + b);
    for (size_t w = 0; w < 4; ++w) EXPECT_EQ(words.word[w][b], block[w]);
  }
}

// Several chunks and a part of one.
TEST(StochasticRounding, AgreesWithReferenceToTheBit) {
  const at::Tensor values = random_tensor({3, 2011}, "x", at::kFloat);
  for (const Operand operand : {Operand::kWeight, Operand::kSecondMoment}) {
    const CounterRng rng(7, "rounding");
    at::Tensor expected = at::empty(values.sizes(), at::kBFloat16);
    reference::round_stochastically(values, rng, operand, expected);
    EXPECT_TRUE(same_bits(rounded(values, rng, operand), expected));
  }
}

TEST(StochasticRounding, SameBitsForAnyThreadCount) {
  const at::Tensor values = random_tensor({50001}, "x", at::kFloat);
  const CounterRng rng(7, "rounding");
  set_num_threads(1);
  const at::Tensor one = rounded(values, rng);
  set_num_threads(2);
  EXPECT_TRUE(same_bits(rounded(values, rng), one));
}

TEST(StochasticRounding, SeedStepAndOperandMatter) {
  const at::Tensor values = random_tensor({1000}, "x", at::kFloat);
  const at::Tensor base = rounded(values, CounterRng(7, uint64_t{1}));
  EXPECT_FALSE(same_bits(rounded(values, CounterRng(8, uint64_t{1})), base));
  EXPECT_FALSE(same_bits(rounded(values, CounterRng(7, uint64_t{2})), base));
  EXPECT_FALSE(same_bits(
      rounded(values, CounterRng(7, uint64_t{1}), Operand::kFirstMoment),
      base));
}

TEST(StochasticRounding, KeepsWhatBf16CanHold) {
  at::Tensor values =
      random_tensor({5000}, "x", at::kBFloat16).to(at::kFloat).contiguous();
  values[0] = std::numeric_limits<float>::infinity();
  values[1] = 0.0;
  values[2] = -std::numeric_limits<float>::infinity();
  EXPECT_TRUE(
      same_bits(rounded(values, CounterRng(1, "r")).to(at::kFloat), values));
}

// The mean of n errors, each uniform over one spacing s at most, has deviation
// below s / 2 / sqrt(n): five of them, with s = 2^-7 of a number in [1, 2) and
// n = 2^20. Rounding to nearest, the control, is off by the whole 0.3 s.
TEST(StochasticRounding, TheMeanErrorIsZero) {
  const double spacing = 0x1p-7;
  const double limit = 5 * spacing / 2 / 1024;
  for (const double sign : {1.0, -1.0}) {
    const double value = sign * (1.5 + 0.3 * spacing);
    const at::Tensor values = at::full({1 << 20}, value, at::kFloat);
    const auto error = [&](const at::Tensor& stored) {
      return std::abs(stored.to(at::kDouble).mean().item<double>() - value);
    };
    EXPECT_LE(error(rounded(values, CounterRng(5, "mean"))), limit);
    EXPECT_GE(error(values.to(at::kBFloat16)), 50 * limit);
  }
}

// A thousand updates of a hundredth of the spacing, as a late phase makes them.
TEST(StochasticRounding, KeepsSmallUpdatesOnAverage) {
  const double update = 0x1p-7 / 100;
  at::Tensor kept = at::full({4096}, 1.0, at::kBFloat16);
  at::Tensor lost = kept.clone();
  for (uint64_t step = 0; step < 1000; ++step) {
    round_stochastically(kept.to(at::kFloat) + update, CounterRng(5, step),
                         Operand::kWeight, kept);
    lost = (lost.to(at::kFloat) + update).to(at::kBFloat16);
  }
  const auto mean = [](const at::Tensor& x) {
    return x.to(at::kDouble).mean().item<double>() - 1;
  };
  // Each walk's variance is below 1000 update spacing, so its deviation is
  // below 3.2 spacings; of 4096 walks, and five deviations: 0.25 spacings.
  EXPECT_NEAR(mean(kept), 1000 * update, 0.25 * 0x1p-7);
  EXPECT_EQ(mean(lost), 0);
}

}  // namespace
}  // namespace annuli::kernels
