#include "annuli/gguf/encode.h"

#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Half.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "annuli/core/rng.h"

namespace annuli::gguf {
namespace {

at::Tensor numbers(int64_t rows, int64_t columns, double scale) {
  const CounterRng rng(3, "encode");
  at::Tensor tensor = at::zeros({rows, columns}, at::kFloat);
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    tensor.data_ptr<float>()[i] =
        static_cast<float>(scale * rng.normal(static_cast<uint64_t>(i)));
  }
  return tensor;
}

TEST(Encode, FloatsAreThemselves) {
  const at::Tensor tensor = numbers(2, 5, 1);
  const std::string bytes = encode(tensor, Type::kF32);
  ASSERT_EQ(std::ssize(bytes), 40);
  EXPECT_EQ(std::memcmp(bytes.data(), tensor.data_ptr(), bytes.size()), 0);
  EXPECT_EQ(std::ssize(encode(tensor, Type::kBf16)), 20);
  EXPECT_EQ(std::ssize(encode(tensor, Type::kF16)), 20);
}

// A code is off by half of a step, which is 1/127 of the block's largest; the
// scale in fp16 is off by 2^-11 of itself.
TEST(Encode, BlocksOfQ8HoldTheirNumbers) {
  const at::Tensor tensor = numbers(3, 64, 0.02);
  const std::string bytes = encode(tensor, Type::kQ8_0);
  ASSERT_EQ(std::ssize(bytes), bytes_of(Type::kQ8_0, tensor.numel()));
  const float* x = tensor.const_data_ptr<float>();
  for (int64_t block = 0; block < tensor.numel() / 32; ++block) {
    const char* at = bytes.data() + block * 34;
    c10::Half stored;
    std::memcpy(&stored, at, 2);
    const auto scale = static_cast<float>(stored);
    for (int64_t i = 0; i < 32; ++i) {
      const float back = scale * static_cast<float>(at[2 + i]);
      EXPECT_NEAR(back, x[block * 32 + i],
                  0.5 * scale + 127 * scale * std::exp2(-11));
    }
  }
}

TEST(Encode, ABlockOfZerosHasNoScale) {
  const std::string bytes = encode(at::zeros({1, 32}, at::kFloat), Type::kQ8_0);
  EXPECT_EQ(bytes, std::string(34, '\0'));
}

// Halves go away from zero, as ggml's do.
TEST(Encode, HalvesAreRoundedAway) {
  at::Tensor tensor = at::zeros({1, 32}, at::kFloat);
  float* x = tensor.data_ptr<float>();
  x[0] = 127;
  x[1] = 2.5F;
  x[2] = -2.5F;
  const std::string bytes = encode(tensor, Type::kQ8_0);
  EXPECT_EQ(bytes[2], 127);
  EXPECT_EQ(bytes[3], 3);
  EXPECT_EQ(bytes[4], -3);
}

}  // namespace
}  // namespace annuli::gguf
