#pragma once

#include <ATen/core/Tensor.h>

#include "annuli/core/rng.h"

// AdamW (Loshchilov & Hutter, 1711.05101), torch.optim.AdamW's arithmetic:
//   p -= lr * weight_decay * p
//   m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
//   p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
namespace annuli::kernels {

struct AdamwStep {
  double learning_rate;
  double beta1;
  double beta2;
  double eps;
  double weight_decay;
  int64_t step;           // t, counted from 1
  double gradient_scale;  // g is multiplied by this first (clipping)
  // For what is stored in bf16: rounded stochastically, so that small updates
  // are not lost. Another one for each tensor and step.
  CounterRng rounding{0, uint64_t{0}};
};

// What the formulas make of the settings.
struct AdamwFactors {
  explicit AdamwFactors(const AdamwStep& step);
  double decay;               // lr * weight_decay
  double rate;                // lr / (1 - b1^t)
  double inverse_correction;  // 1 / sqrt(1 - b2^t)
};

// Updates in place; the four have one shape and device. Parameter and moments
// (these alike) are fp32 or bf16, the gradient either, or all fp64; arithmetic
// is fp32 or fp64. Returns the sum of the squares of the gradient as it was
// given. One fused pass over contiguous CPU tensors, the same bits for any
// number of threads; the reference elsewhere.
double adamw(at::Tensor& parameter, const at::Tensor& gradient, at::Tensor& m,
             at::Tensor& v, const AdamwStep& step);

namespace reference {
double adamw(at::Tensor& parameter, const at::Tensor& gradient, at::Tensor& m,
             at::Tensor& v, const AdamwStep& step);

// The same without storing: updates tensors of the arithmetic's type.
void adamw_in(at::Tensor& parameter, const at::Tensor& gradient, at::Tensor& m,
              at::Tensor& v, const AdamwStep& step);
}  // namespace reference

}  // namespace annuli::kernels
