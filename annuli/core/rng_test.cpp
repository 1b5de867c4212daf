#include "annuli/core/rng.h"

#include <gtest/gtest.h>

#include <cmath>

namespace annuli {
namespace {

// Known answers of Philox4x32-10 from the Random123 distribution.
TEST(Rng, MatchesRandom123KnownAnswers) {
  const auto zeros = CounterRng(0, uint64_t{0}).block(0);
  EXPECT_EQ(zeros[0], 0x6627e8d5u);
  EXPECT_EQ(zeros[1], 0xe169c58du);
  EXPECT_EQ(zeros[2], 0xbc57ac4cu);
  EXPECT_EQ(zeros[3], 0x9b00dbd8u);
  const auto ones = CounterRng(~0ULL, ~uint64_t{0}).block(~0ULL);
  EXPECT_EQ(ones[0], 0x408f276du);
  EXPECT_EQ(ones[1], 0x41c83b0eu);
  EXPECT_EQ(ones[2], 0xa20bc7c6u);
  EXPECT_EQ(ones[3], 0x6d5451fdu);
}

// Two numbers of 64 bits from each block, none used twice.
TEST(Rng, BitsAreTheHalvesOfABlock) {
  const CounterRng rng(7, "halves");
  for (uint64_t i = 0; i < 4; ++i) {
    const auto words = rng.block(i);
    EXPECT_EQ(rng.bits(2 * i), words[0] | uint64_t{words[1]} << 32);
    EXPECT_EQ(rng.bits(2 * i + 1), words[2] | uint64_t{words[3]} << 32);
  }
}

TEST(Rng, StreamsDiffer) {
  EXPECT_NE(CounterRng(1, "a").bits(0), CounterRng(1, "b").bits(0));
  EXPECT_NE(CounterRng(1, "a").bits(0), CounterRng(2, "a").bits(0));
  EXPECT_EQ(CounterRng(1, "a").bits(7), CounterRng(1, "a").bits(7));
}

TEST(Rng, UniformAndNormalHaveTheirMoments) {
  const CounterRng rng(3, "moments");
  const int n = 100000;
  double sum = 0, normal_sum = 0, normal_squares = 0;
  for (int i = 0; i < n; ++i) {
    sum += rng.uniform(i);
    const double z = rng.normal(i);
    normal_sum += z;
    normal_squares += z * z;
  }
  // Five standard errors of each mean.
  EXPECT_NEAR(sum / n, 0.5, 5 * std::sqrt(1.0 / 12 / n));
  EXPECT_NEAR(normal_sum / n, 0, 5 / std::sqrt(double(n)));
  EXPECT_NEAR(normal_squares / n, 1, 5 * std::sqrt(2.0 / n));
}

TEST(Rng, BelowStaysBelow) {
  const CounterRng rng(3, "below");
  for (int i = 0; i < 1000; ++i) EXPECT_LT(rng.below(i, 7), 7u);
}

}  // namespace
}  // namespace annuli
