#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

#include "annuli/kernels/parallel.h"
#include "annuli/kernels/quantize/block_quantization.h"

// How a block of numbers becomes codes in vector code: for block_quantization
// and the optimizer that works on codes.
//
// The magnitudes that codes stand for are 0 = u_0 < u_1 < ... < 1. A number's
// exponent and first 7 bits of mantissa name a cell; a cell is narrower than
// the distance of two magnitudes, so it holds at most one border between codes.
// One table look-up gives the lower code and the rest of the border's bits: the
// number is above the border if the rest of its own bits is larger.
namespace annuli::kernels {

struct CodeTable {
  explicit CodeTable(Codes kind);

  static constexpr uint32_t kLowestCell = 0x3380;   // 2^-24, below any border
  static constexpr uint32_t kHighestCell = 0x3f80;  // 1
  static constexpr size_t kCells = kHighestCell - kLowestCell + 1;

  bool is_signed;
  std::array<float, 256> values{};  // of the codes
  // Index of the lowest magnitude in the cell, and 2^8 times the last 16 bits
  // of the border in it; all of them set where there is none.
  std::array<uint32_t, kCells> cells{};
};

const CodeTable& code_table(Codes kind);

using BlockValues = std::array<float, kQuantizedBlock>;

ANNULI_INLINE void decode_block(const CodeTable& table, const uint8_t* codes,
                                float scale, int64_t size, float* values) {
  const float* known = table.values.data();
#pragma omp simd
  for (int64_t i = 0; i < size; ++i) values[i] = known[codes[i]] * scale;
}

// The entry of largest magnitude, with its sign; of two, the positive one.
ANNULI_INLINE float block_scale(const float* values, int64_t size) {
  float highest = 0;
  float lowest = 0;
#pragma omp simd reduction(max : highest) reduction(min : lowest)
  for (int64_t i = 0; i < size; ++i) {
    highest = values[i] > highest ? values[i] : highest;
    lowest = values[i] < lowest ? values[i] : lowest;
  }
  const float scale = highest >= -lowest ? highest : lowest;
  return std::abs(scale) < 0x1p-126f ? 0 : scale;
}

// Returns the scale.
template <bool kSigned>
ANNULI_INLINE float encode_block(const CodeTable& table, const float* values,
                                 int64_t size, uint8_t* codes) {
  const float scale = block_scale(values, size);
  const float inverse = scale == 0 ? 0 : 1 / scale;
  const uint32_t* cells = table.cells.data();
#pragma omp simd
  for (int64_t i = 0; i < size; ++i) {
    const float x = values[i] * inverse;
    const uint32_t bits = std::bit_cast<uint32_t>(x) & 0x7fffffff;
    uint32_t cell = bits >> 16;
    cell = cell < CodeTable::kLowestCell ? CodeTable::kLowestCell : cell;
    cell = cell > CodeTable::kHighestCell ? CodeTable::kHighestCell : cell;
    const uint32_t found = cells[cell - CodeTable::kLowestCell];
    auto index = static_cast<int32_t>(found & 0xff);
    index += (bits & 0xffff) > found >> 8 ? 1 : 0;
    if constexpr (kSigned) {
      const int32_t below = index > 127 ? 0 : 127 - index;
      index = x < 0 ? below : 127 + index;
    } else {
      index = index == 0 && x > 0 ? 1 : index;
    }
    codes[i] = static_cast<uint8_t>(index);
  }
  return scale;
}

}  // namespace annuli::kernels
