#pragma once

#include <algorithm>
#include <cstdint>

// Matrix products whose operands lie in the first two caches, for kernels that
// need many of them with borders of their own. AVX-512 only: callers ask
// `has_avx512()` and have another way without it.
//
// One tile is kTileRows x tile_columns<T>(): 16 accumulators, enough to hide
// the latency of a multiply-add on two ports, with two loads of b and eight
// broadcasts of a for sixteen multiply-adds.
namespace annuli::kernels {

#define ANNULI_AVX512 __attribute__((target("arch=x86-64-v4")))

inline bool has_avx512() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512f") &&
         __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
#else
  return false;
#endif
}

constexpr int64_t kTileRows = 8;

// 32 floats, 16 doubles: two vectors.
template <typename T>
constexpr int64_t tile_columns() {
  return 128 / static_cast<int64_t>(sizeof(T));
}

constexpr int64_t round_up(int64_t n, int64_t step) {
  return (n + step - 1) / step * step;
}

// Rows of numbers: entry (i, k) is data[i * row + k * step].
template <typename T>
struct Strided {
  const T* data;
  int64_t row;
  int64_t step = 1;

  Strided from(int64_t i, int64_t k) const {
    return {data + i * row + k * step, row, step};
  }
};

#if defined(__x86_64__)

// c (+)= a b for one tile: a is kTileRows x K, b has its tile's columns side by
// side and `b_row` entries from one k to the next.
template <typename T>
ANNULI_AVX512 inline void multiply_tile(int64_t K, Strided<T> a, const T* b,
                                        int64_t b_row, T* c, int64_t c_row,
                                        bool accumulate) {
  typedef T Vector __attribute__((vector_size(64), aligned(sizeof(T))));
  constexpr int64_t kHalf = tile_columns<T>() / 2;
  Vector low[kTileRows] = {};
  Vector high[kTileRows] = {};
  if (accumulate) {
#pragma GCC unroll 8
    for (int64_t i = 0; i < kTileRows; ++i) {
      low[i] = *reinterpret_cast<const Vector*>(c + i * c_row);
      high[i] = *reinterpret_cast<const Vector*>(c + i * c_row + kHalf);
    }
  }
  for (int64_t k = 0; k < K; ++k) {
    const Vector left = *reinterpret_cast<const Vector*>(b + k * b_row);
    const Vector right =
        *reinterpret_cast<const Vector*>(b + k * b_row + kHalf);
#pragma GCC unroll 8
    for (int64_t i = 0; i < kTileRows; ++i) {
      const T factor = a.data[i * a.row + k * a.step];
      low[i] += factor * left;
      high[i] += factor * right;
    }
  }
#pragma GCC unroll 8
  for (int64_t i = 0; i < kTileRows; ++i) {
    *reinterpret_cast<Vector*>(c + i * c_row) = low[i];
    *reinterpret_cast<Vector*>(c + i * c_row + kHalf) = high[i];
  }
}

#endif

}  // namespace annuli::kernels
