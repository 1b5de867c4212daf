#include "annuli/kernels/layer_norm.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/rsqrt.h>

namespace annuli::kernels {

at::Tensor reference::layer_norm(const at::Tensor& x, const at::Tensor& gain,
                                 const at::Tensor& bias, double eps) {
  const at::Tensor centred = x - at::mean(x, -1, /*keepdim=*/true);
  const at::Tensor variance = at::mean(centred * centred, -1, /*keepdim=*/true);
  return centred * at::rsqrt(variance + eps) * gain + bias;
}

}  // namespace annuli::kernels
