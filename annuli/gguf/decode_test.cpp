#include "annuli/gguf/decode.h"

#include <ATen/ops/zeros.h>
#include <c10/util/Half.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>

#include "annuli/core/rng.h"
#include "annuli/gguf/encode.h"

namespace annuli::gguf {
namespace {

std::string half(float value) {
  const c10::Half stored(value);
  std::string bytes(2, '\0');
  std::memcpy(bytes.data(), &stored, 2);
  return bytes;
}

at::Tensor decoded(Type type, const std::string& bytes, int64_t count) {
  return decode(type, std::as_bytes(std::span(bytes)), {1, count});
}

TEST(Decode, FloatsAreThemselves) {
  at::Tensor x = at::zeros({1, 3}, at::kFloat);
  x.data_ptr<float>()[1] = 1.5F;
  for (const Type type : {Type::kF32, Type::kF16, Type::kBf16}) {
    const at::Tensor back = decoded(type, encode(x, type), 3);
    EXPECT_EQ(back.scalar_type(), dtype_of(type));
    EXPECT_TRUE(back.to(at::kFloat).equal(x));
  }
}

// A number is off by half of a code and by the scale's rounding, as in
// encode_test.cpp.
TEST(Decode, BlocksOfQ8AreThoseThatWereEncoded) {
  const CounterRng rng(5, "decode");
  at::Tensor x = at::zeros({1, 64}, at::kFloat);
  for (int64_t i = 0; i < 64; ++i) {
    x.data_ptr<float>()[i] =
        static_cast<float>(rng.normal(static_cast<uint64_t>(i)));
  }
  const std::string bytes = encode(x, Type::kQ8_0);
  const at::Tensor back = decoded(Type::kQ8_0, bytes, 64);
  EXPECT_EQ(encode(back, Type::kQ8_0).substr(2, 32), bytes.substr(2, 32));
  const float largest = x.abs().max().item<float>();
  EXPECT_LE((back - x).abs().max().item<float>(),
            largest * (0.5 / 127 + std::exp2(-11)));
}

// One block with a different number in each field; the `gguf` package is held
// against all of them by tests/interop/read_gguf.py.
TEST(Decode, FieldsOfBlocksAreWhereTheyStand) {
  std::string q4_0 = half(0.5F) + std::string(16, '\x88');
  q4_0[2] = '\x1F';  // 15 and 1, each less 8
  const at::Tensor a = decoded(Type::kQ4_0, q4_0, 32);
  EXPECT_EQ(a[0][0].item<float>(), 3.5F);
  EXPECT_EQ(a[0][16].item<float>(), -3.5F);
  EXPECT_EQ(a[0][1].item<float>(), 0);

  std::string q4_k = half(2) + half(1) + std::string(140, '\0');
  q4_k[4 + 0] = 3;       // the first scale
  q4_k[4 + 4] = 5;       // the first minimum
  q4_k[4 + 8] = '\x21';  // the fifth: 1 and 2
  q4_k[16] = 7;          // group 0
  q4_k[16 + 64] = 4;     // group 4
  const at::Tensor b = decoded(Type::kQ4K, q4_k, 256);
  EXPECT_EQ(b[0][0].item<float>(), 2 * 3 * 7 - 5);
  EXPECT_EQ(b[0][1].item<float>(), -5);
  EXPECT_EQ(b[0][32].item<float>(), 0);
  EXPECT_EQ(b[0][128].item<float>(), 2 * 1 * 4 - 2);

  std::string q5_k = half(2) + half(1) + std::string(172, '\0');
  q5_k[4 + 1] = 3;   // the second scale
  q5_k[16 + 2] = 2;  // the fifth bit of number 2 of group 1
  q5_k[48 + 2] = '\x50';
  EXPECT_EQ(decoded(Type::kQ5K, q5_k, 256)[0][34].item<float>(),
            2 * 3 * (16 + 5));

  std::string q6_k = std::string(208, '\0') + half(0.25F);
  q6_k[128 + 32] = 2 << 4;  // high bits of group 6
  q6_k[64] = '\x70';        // low bits of group 6
  q6_k[192 + 12] = '\xFE';  // its first scale, -2
  EXPECT_EQ(decoded(Type::kQ6K, q6_k, 256)[0][192].item<float>(),
            0.25F * -2 * (32 + 7 - 32));
}

}  // namespace
}  // namespace annuli::gguf
