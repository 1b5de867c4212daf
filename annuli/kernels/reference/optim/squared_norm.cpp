#include "annuli/kernels/optim/squared_norm.h"

namespace annuli::kernels {

double reference::squared_norm(const at::Tensor& tensor) {
  return tensor.to(at::kDouble).square().sum().item<double>();
}

}  // namespace annuli::kernels
