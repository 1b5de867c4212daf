#pragma once

#include <cmath>

#include "annuli/kernels/cpu/vector_exp.h"
#include "annuli/kernels/parallel.h"

namespace annuli::kernels {

// The normal distribution's Phi(x) = erfc(-x / sqrt 2) / 2, in a form the
// compiler vectorises; NaN stays NaN. Good to 4e-7 of itself on either side
// down to Phi(-6) = 1e-9, where the fit's 1.2e-7 and the rounding of x^2 / 2
// add up; both tails keep their leading digits, unlike 1 + erf.
//
// erfc(z) = t exp(-z^2 + P(t)), t = 1 / (1 + z / 2), z >= 0: the Chebyshev fit
// of Numerical Recipes (2nd edition, 6.2).
ANNULI_INLINE float normal_cdf(float x) {
  const float z = std::fabs(x) * 0.70710678118654752f;
  const float t = 1.0f / (1.0f + 0.5f * z);
  float p = 0.17087277f;
  p = p * t - 0.82215223f;
  p = p * t + 1.48851587f;
  p = p * t - 1.13520398f;
  p = p * t + 0.27886807f;
  p = p * t - 0.18628806f;
  p = p * t + 0.09678418f;
  p = p * t + 0.37409196f;
  p = p * t + 1.00002368f;
  p = p * t - 1.26551223f;
  const float tail = 0.5f * t * exp_nonpositive(p - 0.5f * x * x);
  return x < 0 ? tail : 1.0f - tail;
}

ANNULI_INLINE double normal_cdf(double x) {
  return 0.5 * std::erfc(x * -0.70710678118654752440);
}

// Its derivative, exp(-x^2 / 2) / sqrt(2 pi). The square is no product that
// normal_cdf has too: a shared one would not be fused into the sum there, and
// Phi would have other bits beside its derivative than alone.
ANNULI_INLINE float normal_pdf(float x) {
  return 0.39894228040143268f * exp_nonpositive(-0.5f * (x * x));
}
ANNULI_INLINE double normal_pdf(double x) {
  return 0.39894228040143267794 * std::exp(-0.5 * x * x);
}

}  // namespace annuli::kernels
