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

// Of 1000 positions: index 1.7 turns four times, index 2.2 once. So 0 and 1 are
// kept, 3 is stretched, 2 lies 0.6 of the way; with whole ends half of the way
// from 1 to 3.
TEST(RopeFrequencies, YarnStretchesTheSlowOnes) {
  RopeScaling yarn{.type = RopeScaling::Type::kYarn,
                   .factor = 8,
                   .original_max_position_embeddings = 1000,
                   .beta_fast = 4,
                   .attention_factor = 1.25,
                   .truncate = false};
  const auto index_of = [](double turns) {
    return 8 * std::log(1000 / (turns * 2 * std::numbers::pi)) /
           (2 * std::log(10000.0));
  };
  EXPECT_NEAR(index_of(4), 1.6, 0.01);
  EXPECT_NEAR(index_of(1), 2.2, 0.01);
  const double share = (2 - index_of(4)) / (index_of(1) - index_of(4));
  EXPECT_DOUBLE_EQ(frequency(yarn, 0), 1);
  EXPECT_DOUBLE_EQ(frequency(yarn, 1), 0.1);
  EXPECT_NEAR(frequency(yarn, 2), 0.01 * (1 - share + share / 8), 1e-16);
  EXPECT_DOUBLE_EQ(frequency(yarn, 3), 0.001 / 8);
  yarn.truncate = true;
  EXPECT_NEAR(frequency(yarn, 2), 0.01 * (0.5 + 0.5 / 8), 1e-16);
  EXPECT_EQ(rope_amplitude(config_with(yarn)), 1.25);
  EXPECT_EQ(rope_amplitude(config_with({})), 1);
}

TEST(RopeFrequencies, TheTypeIsThatOfTheArithmetic) {
  const auto config = config_with({RopeScaling::Type::kLlama3, 8, 1, 4, 1000});
  EXPECT_EQ(rope_frequencies(config, at::kFloat, at::kCPU).scalar_type(),
            at::kFloat);
}

}  // namespace
}  // namespace annuli
