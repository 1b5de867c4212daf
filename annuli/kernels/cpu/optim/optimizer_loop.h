#pragma once

#include <ATen/core/Tensor.h>
#include <c10/util/BFloat16.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/kernels/cpu/bf16.h"
#include "annuli/kernels/parallel.h"
#include "annuli/kernels/quantize/stochastic_rounding.h"

// What the fused optimizers share: reading and writing numbers of any stored
// type in the type of the arithmetic, and a loop over a tensor's entries in
// chunks that fit the first cache.
namespace annuli::kernels {

// The type that numbers stored as T are computed with.
template <typename T>
using ArithmeticOf =
    std::conditional_t<std::is_same_v<T, at::BFloat16>, float, T>;

template <typename T>
inline constexpr bool kIsRounded = std::is_same_v<T, at::BFloat16>;

template <typename T>
ANNULI_INLINE ArithmeticOf<T> load(const T* values, int64_t i) {
  if constexpr (kIsRounded<T>) {
    return from_bf16(values[i]);
  } else {
    return values[i];
  }
}

// bf16 is rounded stochastically by the 16 bits.
template <typename T>
ANNULI_INLINE void store(T* values, int64_t i, ArithmeticOf<T> value,
                         uint16_t bits) {
  if constexpr (kIsRounded<T>) {
    values[i].x =
        static_cast<uint16_t>((std::bit_cast<uint32_t>(value) + bits) >> 16);
  } else {
    values[i] = value;
  }
}

// Entries of one task; the fp64 sums of tasks are added in their order.
inline constexpr int64_t kTaskEntries = 8 * kNoiseEntries;

// Calls f(begin, end) -> double for every chunk of kNoiseEntries of [0, n), in
// parallel, and returns the sum, which does not depend on the threads.
template <typename F>
double sum_over_chunks(int64_t n, const F& f) {
  std::vector<double> sums((n + kTaskEntries - 1) / kTaskEntries);
  parallel_blocks(n, kTaskEntries, [&](int64_t first, int64_t last) {
    double sum = 0;
    for (int64_t begin = first; begin < last; begin += kNoiseEntries) {
      sum += f(begin, std::min(last, begin + kNoiseEntries));
    }
    sums[first / kTaskEntries] = sum;
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

// Calls f(W{}, G{}) with the element types of weights and gradient: fp32 or
// bf16 each, or both fp64.
template <typename F>
void dispatch_types(const at::Tensor& weight, const at::Tensor& gradient,
                    const F& f) {
  const at::ScalarType w = weight.scalar_type();
  const at::ScalarType g = gradient.scalar_type();
  const bool narrow = g == at::kBFloat16;
  if (w == at::kDouble && g == at::kDouble) {
    f(double{}, double{});
  } else if (w == at::kFloat && (g == at::kFloat || narrow)) {
    narrow ? f(float{}, at::BFloat16{}) : f(float{}, float{});
  } else if (w == at::kBFloat16 && (g == at::kFloat || narrow)) {
    narrow ? f(at::BFloat16{}, at::BFloat16{}) : f(at::BFloat16{}, float{});
  } else {
    ANNULI_CHECK(false, "a gradient in {} of weights in {}", c10::toString(g),
                 c10::toString(w));
  }
}

}  // namespace annuli::kernels
