#pragma once

#include <cmath>

#include "annuli/kernels/optim/adamw.h"
#include "annuli/kernels/parallel.h"

// AdamW's formula (adamw.h) for one entry, whatever its moments are stored as:
// the loops over numbers and over 8-bit codes share it. Constants are rounded
// once to the type T of the arithmetic, fp32 or fp64.
namespace annuli::kernels {

template <typename T>
class AdamwArithmetic {
 public:
  struct Entry {
    T weight, m, v;
  };

  AdamwArithmetic(const AdamwStep& step, const AdamwFactors& factors)
      : scale_(static_cast<T>(step.gradient_scale)),
        beta1_(static_cast<T>(step.beta1)),
        beta2_(static_cast<T>(step.beta2)),
        rest1_(static_cast<T>(1 - step.beta1)),
        rest2_(static_cast<T>(1 - step.beta2)),
        decay_(static_cast<T>(factors.decay)),
        rate_(static_cast<T>(factors.rate)),
        inverse_correction_(static_cast<T>(factors.inverse_correction)),
        eps_(static_cast<T>(step.eps)) {}

  // `gradient` as it was given, not yet scaled.
  ANNULI_INLINE Entry after(T weight, T gradient, T m, T v) const {
    const T g = gradient * scale_;
    const T first = beta1_ * m + rest1_ * g;
    const T second = beta2_ * v + rest2_ * g * g;
    const T denominator = std::sqrt(second) * inverse_correction_ + eps_;
    return {weight - decay_ * weight - rate_ * (first / denominator), first,
            second};
  }

 private:
  T scale_, beta1_, beta2_, rest1_, rest2_;
  T decay_, rate_, inverse_correction_, eps_;
};

}  // namespace annuli::kernels
