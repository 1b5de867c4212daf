#pragma once

#include <ATen/core/Tensor.h>

#include "annuli/core/rng.h"

// Adafactor (Shazeer & Stern, 1804.04235) without a first moment: AdamW's
// normalised step with a second moment that a matrix keeps as the means of its
// rows and columns.
//   b = 1 - t^-decay_rate
//   R = b R + (1 - b) mean over columns of (g^2 + eps);  C alike over rows
//   v = R C^T / mean(R)          (a vector keeps v itself)
//   u = g / sqrt(v), divided by max(1, rms(u) / clip_threshold)
//   p -= lr weight_decay p + lr u
// With scale_parameter lr is times max(least_rms, rms(p)), the paper's relative
// step. This is transformers' Adafactor with relative_step off.
namespace annuli::kernels {

inline constexpr double kAdafactorEps = 1e-30;
inline constexpr double kAdafactorLeastRms = 1e-3;

struct AdafactorStep {
  double learning_rate;
  double decay_rate;
  double eps;
  double clip_threshold;
  bool scale_parameter;
  double least_rms;
  double weight_decay;
  int64_t step;                         // t, counted from 1
  double gradient_scale;                // g is multiplied by this first
  CounterRng rounding{0, uint64_t{0}};  // as AdamwStep's
};

// What the formulas make of the settings: b, and lr.
double second_decay(const AdafactorStep& step);
double rate_of(const AdafactorStep& step, const at::Tensor& parameter);

// A matrix [rows, columns]; the factors are fp32, or fp64 beside fp64 weights.
// Types, return value and guarantees are those of adamw. Three passes over the
// gradient: the means, the rms of the update, the update.
double adafactor(at::Tensor& parameter, const at::Tensor& gradient,
                 at::Tensor& rows, at::Tensor& columns,
                 const AdafactorStep& step);

// A vector, or any other shape, with a second moment of its own.
double adafactor(at::Tensor& parameter, const at::Tensor& gradient,
                 at::Tensor& v, const AdafactorStep& step);

namespace reference {
double adafactor(at::Tensor& parameter, const at::Tensor& gradient,
                 at::Tensor& rows, at::Tensor& columns,
                 const AdafactorStep& step);
double adafactor(at::Tensor& parameter, const at::Tensor& gradient,
                 at::Tensor& v, const AdafactorStep& step);
}  // namespace reference

}  // namespace annuli::kernels
