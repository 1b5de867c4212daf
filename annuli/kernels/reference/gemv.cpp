#include "annuli/kernels/gemv.h"

#include <ATen/ops/linear.h>

namespace annuli::kernels {

at::Tensor reference::gemv(const at::Tensor& x, const at::Tensor& weight,
                           const at::Tensor& bias) {
  return at::linear(x.to(at::kDouble), weight.to(at::kDouble),
                    bias.defined() ? bias.to(at::kDouble) : bias);
}

}  // namespace annuli::kernels
