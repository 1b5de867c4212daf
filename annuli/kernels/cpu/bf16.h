#pragma once

#include <c10/util/BFloat16.h>

#include <bit>
#include <cstdint>

#include "annuli/kernels/parallel.h"

// Conversions in a form that compilers vectorise. c10's hide the bits behind
// a constructor with a branch.
namespace annuli::kernels {

// To nearest, ties to even; NaN stays NaN, whatever its payload.
ANNULI_INLINE at::BFloat16 to_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = bits + 0x7fff + ((bits >> 16) & 1);
  const bool nan = (bits & 0x7fffffff) > 0x7f800000;
  const uint32_t kept = nan ? 0x7fc00000u : rounded;
  return at::BFloat16(static_cast<uint16_t>(kept >> 16),
                      at::BFloat16::from_bits());
}

ANNULI_INLINE float from_bf16(at::BFloat16 value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value.x) << 16);
}

// A float that holds a number rounded to bf16.
struct RoundedFloat {
  float value;
};

// One spelling for kernels that read or write several types.
ANNULI_INLINE float load(float x) { return x; }
ANNULI_INLINE double load(double x) { return x; }
ANNULI_INLINE float load(at::BFloat16 x) { return from_bf16(x); }
ANNULI_INLINE void store(float x, float& to) { to = x; }
ANNULI_INLINE void store(double x, double& to) { to = x; }
ANNULI_INLINE void store(float x, at::BFloat16& to) { to = to_bf16(x); }
ANNULI_INLINE void store(float x, RoundedFloat& to) {
  to.value = from_bf16(to_bf16(x));
}

}  // namespace annuli::kernels
