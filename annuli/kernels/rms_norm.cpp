#include "annuli/kernels/rms_norm.h"

#include <ATen/record_function.h>

#include "annuli/core/error.h"
#include "annuli/kernels/cpu/rms_norm.h"
#include "annuli/kernels/dispatch.h"
#include "annuli/kernels/gradient_type.h"

namespace annuli::kernels {

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& gain, double eps) {
  return rms_norm(x, gain, eps, x.scalar_type());
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& gain, double eps,
                    at::ScalarType out) {
  RECORD_USER_SCOPE("rms_norm");
  ANNULI_CHECK(gain.dim() == 1 && x.size(-1) == gain.size(0),
               "rows of {}, gain of {}", x.size(-1), gain.numel());
  at::Tensor y =
      is_host(x)
          ? cpu::rms_norm(x, gain, eps, out)
          : reference::rms_norm(x, gain.to(x.scalar_type()), eps).to(out);
  set_gradient_type(y, x.scalar_type());
  return y;
}

}  // namespace annuli::kernels
