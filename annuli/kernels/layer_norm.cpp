#include "annuli/kernels/layer_norm.h"

#include <ATen/record_function.h>

#include "annuli/core/error.h"
#include "annuli/kernels/cpu/layer_norm.h"
#include "annuli/kernels/dispatch.h"
#include "annuli/kernels/gradient_type.h"

namespace annuli::kernels {

at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& gain,
                      const at::Tensor& bias, double eps, at::ScalarType out) {
  RECORD_USER_SCOPE("layer_norm");
  ANNULI_CHECK(gain.dim() == 1 && x.size(-1) == gain.size(0) &&
                   bias.sizes() == gain.sizes(),
               "rows of {}, gain of {}, bias of {}", x.size(-1), gain.numel(),
               bias.numel());
  at::Tensor y = is_host(x)
                     ? cpu::layer_norm(x, gain, bias, eps, out)
                     : reference::layer_norm(x, gain.to(x.scalar_type()),
                                             bias.to(x.scalar_type()), eps)
                           .to(out);
  set_gradient_type(y, x.scalar_type());
  return y;
}

}  // namespace annuli::kernels
