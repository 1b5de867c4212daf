#include "annuli/gguf/decode.h"

#include <ATen/Parallel.h>
#include <c10/util/Half.h>

#include <array>
#include <cstring>

#include "annuli/core/error.h"
#include "annuli/kernels/memory/owned_memory.h"

namespace annuli::gguf {
namespace {

using Block = const uint8_t*;
using Decode = void (*)(Block block, float* out);

float half_at(Block at) {
  c10::Half half;
  std::memcpy(&half, at, sizeof(half));
  return static_cast<float>(half);
}

// d, 32 codes of a signed byte
void decode_q8_0(Block block, float* out) {
  const float d = half_at(block);
  for (int i = 0; i < 32; ++i) {
    out[i] = static_cast<float>(static_cast<int8_t>(block[2 + i])) * d;
  }
}

// d, 16 bytes: the low halves are the first 16 codes, less 8
void decode_q4_0(Block block, float* out) {
  const float d = half_at(block);
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>((block[2 + i] & 15) - 8);
    out[16 + i] = d * static_cast<float>((block[2 + i] >> 4) - 8);
  }
}

// Of each 32 of a block's numbers: x = scale * code - least.
struct Scales {
  std::array<float, 8> scale;
  std::array<float, 8> least;
};

// d, dmin, then 8 scales and 8 minima of 6 bits in 12 bytes: the first four of
// each in the low bits of a byte, the others cut into a half and two bits.
Scales scales_at(Block block) {
  const float d = half_at(block);
  const float dmin = half_at(block + 2);
  const Block six = block + 4;
  Scales scales;
  for (int i = 0; i < 4; ++i) {
    const int high = six[8 + i];
    scales.scale[i] = d * static_cast<float>(six[i] & 63);
    scales.least[i] = dmin * static_cast<float>(six[4 + i] & 63);
    scales.scale[4 + i] =
        d * static_cast<float>((high & 15) | ((six[i] >> 2) & 48));
    scales.least[4 + i] =
        dmin * static_cast<float>((high >> 4) | ((six[4 + i] >> 2) & 48));
  }
  return scales;
}

// Codes of four bits: 32 bytes hold two groups, the first in the low halves.
int low_code(Block codes, int group, int i) {
  return (codes[group / 2 * 32 + i] >> (group % 2 * 4)) & 15;
}

void decode_q4_k(Block block, float* out) {
  const Scales scales = scales_at(block);
  for (int group = 0; group < 8; ++group) {
    for (int i = 0; i < 32; ++i) {
      const auto code = static_cast<float>(low_code(block + 16, group, i));
      out[group * 32 + i] = scales.scale[group] * code - scales.least[group];
    }
  }
}

// As q4_K, with a fifth bit of each code in 32 bytes before the others: bit g
// of byte i is of number i of group g.
void decode_q5_k(Block block, float* out) {
  const Scales scales = scales_at(block);
  const Block high = block + 16;
  for (int group = 0; group < 8; ++group) {
    for (int i = 0; i < 32; ++i) {
      const int bit = (high[i] >> group) & 1;
      const auto code =
          static_cast<float>(low_code(block + 48, group, i) | bit << 4);
      out[group * 32 + i] = scales.scale[group] * code - scales.least[group];
    }
  }
}

// 128 bytes of low halves, 64 of two high bits, 16 scales of a signed byte, d.
// Of each half of a block: groups 0 and 2, 1 and 3 share bytes of low halves,
// all four a byte of high bits.
void decode_q6_k(Block block, float* out) {
  const Block scale = block + 192;
  const float d = half_at(block + 208);
  for (int group = 0; group < 8; ++group) {
    const int half = group / 4;
    const int quarter = group % 4;
    const Block low = block + half * 64 + quarter % 2 * 32;
    const Block high = block + 128 + half * 32;
    for (int i = 0; i < 32; ++i) {
      const int at = group * 32 + i;
      const int code = ((low[i] >> (quarter / 2 * 4)) & 15) |
                       ((high[i] >> (quarter * 2)) & 3) << 4;
      const float scaled =
          d * static_cast<float>(static_cast<int8_t>(scale[at / 16]));
      out[at] = scaled * static_cast<float>(code - 32);
    }
  }
}

Decode decoder_of(Type type) {
  switch (type) {
    case Type::kQ8_0:
      return decode_q8_0;
    case Type::kQ4_0:
      return decode_q4_0;
    case Type::kQ4K:
      return decode_q4_k;
    case Type::kQ5K:
      return decode_q5_k;
    case Type::kQ6K:
      return decode_q6_k;
    default:
      break;
  }
  ANNULI_CHECK(false, "{} has no blocks", traits_of(type).name);
}

}  // namespace

at::ScalarType dtype_of(Type type) {
  if (type == Type::kF16) return at::kHalf;
  if (type == Type::kBf16) return at::kBFloat16;
  return at::kFloat;
}

at::Tensor decode(Type type, std::span<const std::byte> bytes,
                  at::IntArrayRef shape) {
  at::Tensor result = kernels::owned_empty(shape, dtype_of(type));
  const auto size = static_cast<int64_t>(bytes.size());
  ANNULI_CHECK(size == bytes_of(type, result.numel()),
               "{} bytes of {} numbers of {}", size, result.numel(),
               traits_of(type).name);
  if (!is_quantised(type)) {
    std::memcpy(result.data_ptr(), bytes.data(), bytes.size());
    return result;
  }
  const TypeTraits& traits = traits_of(type);
  const Decode decode_block = decoder_of(type);
  const auto* data = reinterpret_cast<Block>(bytes.data());
  float* out = result.data_ptr<float>();
  constexpr int64_t kGrain = 4096;
  at::parallel_for(
      0, size / traits.bytes, kGrain, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          decode_block(data + i * traits.bytes, out + i * traits.block);
        }
      });
  return result;
}

}  // namespace annuli::gguf
