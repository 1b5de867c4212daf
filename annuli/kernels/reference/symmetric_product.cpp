#include "annuli/kernels/symmetric_product.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/mm.h>

namespace annuli::kernels {

void reference::multiply_symmetric(at::Tensor& out, const at::Tensor& a,
                                   const at::Tensor& b) {
  const at::Tensor upper = a.mm(b).triu();
  out.copy_(upper + upper.triu(1).t());
}

}  // namespace annuli::kernels
