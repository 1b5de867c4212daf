#pragma once

#include <bit>
#include <cstdint>
#include <limits>

#include "annuli/kernels/parallel.h"

// The numbers of weight_codes.h that both of its folders use.
namespace annuli::kernels {

inline constexpr float kLargestCode = 127;
inline constexpr int kLeastExponent = -126;  // of a block of zeros too
inline constexpr int kLargestExponent = 120;
inline constexpr int kNotFinite = 127;  // in an exponent's place

ANNULI_INLINE float power_of_two(int exponent) {
  return std::bit_cast<float>(static_cast<uint32_t>(exponent + 127) << 23);
}

// Of a block, by its exponent.
ANNULI_INLINE float scale_of(int8_t exponent) {
  return exponent == kNotFinite ? std::numeric_limits<float>::quiet_NaN()
                                : power_of_two(exponent);
}

}  // namespace annuli::kernels
