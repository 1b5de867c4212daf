#include "annuli/kernels/optim/squared_norm.h"

#include <ATen/record_function.h>

#include "annuli/kernels/cpu/optim/squared_norm.h"
#include "annuli/kernels/dispatch.h"

namespace annuli::kernels {

double squared_norm(const at::Tensor& tensor) {
  if (!tensor.defined()) return 0;
  RECORD_USER_SCOPE("gradient norm");
  const at::ScalarType type = tensor.scalar_type();
  const bool known =
      type == at::kFloat || type == at::kDouble || type == at::kBFloat16;
  return is_plain(tensor) && known ? cpu::squared_norm(tensor)
                                   : reference::squared_norm(tensor);
}

}  // namespace annuli::kernels
