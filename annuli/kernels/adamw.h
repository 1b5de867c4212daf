#pragma once

#include <ATen/core/Tensor.h>

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
};

// All four tensors have one shape, dtype (fp32 or fp64) and device; updated in
// place. One fused pass over contiguous CPU tensors, the same bits for any
// number of threads; the reference elsewhere.
void adamw(at::Tensor& parameter, const at::Tensor& gradient, at::Tensor& m,
           at::Tensor& v, const AdamwStep& step);

namespace reference {
void adamw(at::Tensor& parameter, const at::Tensor& gradient, at::Tensor& m,
           at::Tensor& v, const AdamwStep& step);
}

}  // namespace annuli::kernels
