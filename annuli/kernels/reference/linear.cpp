#include "annuli/kernels/linear.h"

#include <ATen/ops/linear.h>

namespace annuli::kernels {

at::Tensor reference::linear(const at::Tensor& x, const LinearLayer& layer) {
  const auto rounded = [&](const at::Tensor& t) {
    return layer.matrix.rounded ? t.to(at::kBFloat16).to(at::kFloat) : t;
  };
  return at::linear(rounded(x), rounded(layer.matrix.weight), layer.bias);
}

}  // namespace annuli::kernels
