#include "annuli/model/rope_frequencies.h"

#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace annuli {
namespace {

ModelConfig config_with(const RopeScaling& scaling) {
  ModelConfig config;
  config.head_dim = 8;
  config.rope_theta = 10000;  // frequencies 1, 0.1, 0.01, 0.001
  config.rope_scaling = scaling;
  return config;
}

double frequency(const RopeScaling& scaling, int64_t i) {
  return rope_frequencies(config_with(scaling), at::kDouble, at::kCPU)[i]
      .item<double>();
}

TEST(RopeFrequencies, LinearDividesAll) {
  const RopeScaling linear{RopeScaling::Type::kLinear, 4};
  for (int64_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(frequency(linear, i), frequency({}, i) / 4, 1e-16);
  }
}

// Turns within 1000 positions: 159, 15.9, 1.59, 0.159. More than 4 are kept,
// fewer than 1 are stretched; 1.59 lies 0.197 of the way.
TEST(RopeFrequencies, Llama3StretchesTheSlowOnes) {
  const RopeScaling llama3{RopeScaling::Type::kLlama3, 8, 1, 4, 1000};
  EXPECT_DOUBLE_EQ(frequency(llama3, 0), 1);
  EXPECT_DOUBLE_EQ(frequency(llama3, 1), 0.1);
  const double share = (10 / (2 * std::numbers::pi) - 1) / 3;
  EXPECT_NEAR(frequency(llama3, 2), 0.01 * (share + (1 - share) / 8), 1e-17);
  EXPECT_DOUBLE_EQ(frequency(llama3, 3), 0.001 / 8);
}

TEST(RopeFrequencies, TheTypeIsThatOfTheArithmetic) {
  const auto config = config_with({RopeScaling::Type::kLlama3, 8, 1, 4, 1000});
  EXPECT_EQ(rope_frequencies(config, at::kFloat, at::kCPU).scalar_type(),
            at::kFloat);
}

}  // namespace
}  // namespace annuli
