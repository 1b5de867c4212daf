#include "annuli/kernels/cpu/quantize/weight_codes.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <vector>

#include "annuli/kernels/cpu/bf16.h"
#include "annuli/kernels/memory/owned_memory.h"
#include "annuli/kernels/parallel.h"
#include "annuli/kernels/quantize/code_range.h"
#include "annuli/kernels/quantize/stochastic_rounding.h"

namespace annuli::kernels {
namespace {

constexpr int64_t kTaskCodes = 16384;
constexpr int kMost = 256;  // entries of a block

// Of magnitudes, as bits: they are ordered as the numbers are.
ANNULI_VECTOR_CLONES uint32_t largest_bits(const float* values, int64_t n) {
  uint32_t largest = 0;
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(values[i]) & 0x7fffffffU;
    largest = bits > largest ? bits : largest;
  }
  return largest;
}

int8_t exponent_of(uint32_t largest) {
  if (largest >= 0x7f800000U) return kNotFinite;
  const int leading = static_cast<int>(largest >> 23) - 127;
  int exponent = std::clamp(leading - 6, kLeastExponent, kLargestExponent);
  const auto value = std::bit_cast<float>(largest);
  if (value > kLargestCode * power_of_two(exponent)) ++exponent;
  return static_cast<int8_t>(exponent > kLargestExponent ? kNotFinite
                                                         : exponent);
}

// Adding 3 2^22 leaves no bit for a fraction.
ANNULI_VECTOR_CLONES void nearest(const float* values, int64_t n, float inverse,
                                  int8_t* codes) {
  constexpr float kShift = 0x1.8p23F;
  for (int64_t i = 0; i < n; ++i) {
    const float shifted = values[i] * inverse + kShift;
    codes[i] = static_cast<int8_t>(static_cast<int32_t>(shifted - kShift));
  }
}

// floor(x + u), u in (0, 1): both have 17 bits below the point, and so has
// their sum.
ANNULI_VECTOR_CLONES void at_random(const float* values, const uint16_t* bits,
                                    int64_t n, float inverse, int8_t* codes) {
  for (int64_t i = 0; i < n; ++i) {
    const float u = (static_cast<float>(bits[i]) + 0.5F) * 0x1p-16F;
    const float x = values[i] * inverse + u;
    const auto whole = static_cast<int32_t>(x);
    const int32_t below = static_cast<float>(whole) > x ? 1 : 0;
    codes[i] = static_cast<int8_t>(whole - below);
  }
}

template <typename T>
ANNULI_INLINE void widen(const int8_t* codes, int64_t n, float scale,
                         T* values) {
  for (int64_t i = 0; i < n; ++i) {
    store(static_cast<float>(codes[i]) * scale, values[i]);
  }
}
ANNULI_VECTOR_CLONES void widen_block(const int8_t* codes, int64_t n,
                                      float scale, float* values) {
  widen(codes, n, scale, values);
}
ANNULI_VECTOR_CLONES void widen_block(const int8_t* codes, int64_t n,
                                      float scale, at::BFloat16* values) {
  widen(codes, n, scale, values);
}

template <typename T>
ANNULI_INLINE void load_all(const T* values, int64_t n, float* wide) {
  for (int64_t i = 0; i < n; ++i) wide[i] = load(values[i]);
}
ANNULI_VECTOR_CLONES void load_block(const float* values, int64_t n,
                                     float* wide) {
  load_all(values, n, wide);
}
ANNULI_VECTOR_CLONES void load_block(const at::BFloat16* values, int64_t n,
                                     float* wide) {
  load_all(values, n, wide);
}

// The random bits of consecutive entries, made a chunk at a time.
class Bits {
 public:
  explicit Bits(const CounterRng& rng) : rng_(rng) {}

  void copy(int64_t first, int64_t n, uint16_t* bits) {
    while (n > 0) {
      const int64_t chunk = first / kNoiseEntries * kNoiseEntries;
      if (chunk != chunk_) {
        random_bits(rng_, Operand::kWeight, chunk, noise_);
        chunk_ = chunk;
      }
      const int64_t count = std::min(n, chunk + kNoiseEntries - first);
      std::copy_n(noise_.bits.begin() + (first - chunk), count, bits);
      first += count;
      bits += count;
      n -= count;
    }
  }

 private:
  const CounterRng& rng_;
  int64_t chunk_ = -1;
  Noise noise_;
};

// f(first entry, entries, exponent's place) for each block of rows [begin,
// end).
template <typename F>
void for_blocks(const at::Tensor& codes, int64_t begin, int64_t end,
                const F& f) {
  const int64_t columns = codes.size(1);
  const int64_t block = code_block(columns);
  const int64_t blocks = (columns + block - 1) / block;
  for (int64_t row = begin; row < end; ++row) {
    for (int64_t b = 0; b < blocks; ++b) {
      f(row * columns + b * block, std::min(block, columns - b * block),
        row * blocks + b);
    }
  }
}

template <typename F>
void for_tasks(const at::Tensor& codes, const F& f) {
  if (codes.numel() == 0) return;
  const int64_t rows = std::max<int64_t>(1, kTaskCodes / codes.size(1));
  parallel_blocks(codes.size(0), rows, f);
}

template <typename T>
void code_nearest(const at::Tensor& values, CodedMatrix& matrix) {
  const T* from = values.const_data_ptr<T>();
  auto* codes = matrix.codes.mutable_data_ptr<int8_t>();
  auto* exponents = matrix.exponents.mutable_data_ptr<int8_t>();
  for_tasks(matrix.codes, [&](int64_t begin, int64_t end) {
    std::array<float, kMost> wide{};
    for_blocks(matrix.codes, begin, end,
               [&](int64_t first, int64_t n, int64_t place) {
                 load_block(from + first, n, wide.data());
                 const int8_t e = exponent_of(largest_bits(wide.data(), n));
                 exponents[place] = e;
                 if (e == kNotFinite) {
                   std::fill_n(codes + first, n, int8_t{1});
                   return;
                 }
                 nearest(wide.data(), n, power_of_two(-e), codes + first);
               });
  });
}

template <typename T>
void widen_all(const CodedMatrix& matrix, const at::Tensor& target) {
  const auto* codes = matrix.codes.const_data_ptr<int8_t>();
  const auto* exponents = matrix.exponents.const_data_ptr<int8_t>();
  T* to = target.mutable_data_ptr<T>();
  for_tasks(matrix.codes, [&](int64_t begin, int64_t end) {
    for_blocks(
        matrix.codes, begin, end, [&](int64_t first, int64_t n, int64_t place) {
          widen_block(codes + first, n, scale_of(exponents[place]), to + first);
        });
  });
}

}  // namespace

CodedMatrix cpu::to_codes(const at::Tensor& values) {
  const int64_t columns = values.size(1);
  const int64_t block = code_block(columns);
  CodedMatrix matrix{
      owned_empty(values.sizes(), at::kChar),
      owned_empty({values.size(0), (columns + block - 1) / block}, at::kChar)};
  if (values.scalar_type() == at::kFloat) {
    code_nearest<float>(values, matrix);
  } else {
    code_nearest<at::BFloat16>(values, matrix);
  }
  return matrix;
}

void cpu::to_codes_at_random(const at::Tensor& values, const CounterRng& rng,
                             CodedMatrix& matrix) {
  const float* from = values.const_data_ptr<float>();
  auto* codes = matrix.codes.mutable_data_ptr<int8_t>();
  auto* exponents = matrix.exponents.mutable_data_ptr<int8_t>();
  for_tasks(matrix.codes, [&](int64_t begin, int64_t end) {
    Bits source(rng);
    std::array<uint16_t, kMost> bits{};
    for_blocks(matrix.codes, begin, end,
               [&](int64_t first, int64_t n, int64_t place) {
                 const int8_t e = exponent_of(largest_bits(from + first, n));
                 exponents[place] = e;
                 if (e == kNotFinite) {
                   std::fill_n(codes + first, n, int8_t{1});
                   return;
                 }
                 source.copy(first, n, bits.data());
                 at_random(from + first, bits.data(), n, power_of_two(-e),
                           codes + first);
               });
  });
}

void cpu::from_codes(const CodedMatrix& matrix, const at::Tensor& target) {
  if (target.scalar_type() == at::kFloat) {
    widen_all<float>(matrix, target);
  } else {
    widen_all<at::BFloat16>(matrix, target);
  }
}

}  // namespace annuli::kernels
