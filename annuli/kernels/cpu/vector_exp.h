#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "annuli/kernels/parallel.h"

namespace annuli::kernels {

// e^value for value <= 0, within 2 units in the last place, in a form the
// compiler vectorises; NaN stays NaN. Below -64 the result is 0: nothing a sum
// of floats beside e^0 could see, and what is scaled further never becomes a
// slow subnormal.
//
// x = n ln 2 + r, |r| <= ln(2) / 2: e^x = 2^n e^r. Adding 1.5 * 2^23 rounds to
// the integer n and leaves it in the low bits. ln 2 is split in two so that r
// is good to the last bit; the polynomial is Cephes' expf.
ANNULI_INLINE float exp_nonpositive(float value) {
  constexpr float kRound = 12582912.0f;
  constexpr float kLowest = -64.0f;
  const float x = value < kLowest ? kLowest : value;
  const float shifted = x * 1.44269504088896341f + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const uint32_t exponent = std::bit_cast<uint32_t>(shifted) << 23;
  const float scale = std::bit_cast<float>(exponent + 0x3f800000u);
  return value < kLowest ? 0.0f : p * scale;
}

ANNULI_INLINE double exp_nonpositive(double x) { return std::exp(x); }

}  // namespace annuli::kernels
