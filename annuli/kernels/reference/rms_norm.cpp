#include "annuli/kernels/rms_norm.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/rsqrt.h>

namespace annuli::kernels {

at::Tensor reference::rms_norm(const at::Tensor& x, const at::Tensor& gain,
                               double eps) {
  at::Tensor mean_square = at::mean(x * x, -1, /*keepdim=*/true);
  return x * at::rsqrt(mean_square + eps) * gain;
}

}  // namespace annuli::kernels
