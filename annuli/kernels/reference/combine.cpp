#include "annuli/kernels/combine.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/sum.h>

namespace annuli::kernels {

at::Tensor reference::gather_tokens(const at::Tensor& x,
                                    const at::Tensor& token) {
  return at::index_select(x, 0, token);
}

at::Tensor reference::combine(const at::Tensor& y, const at::Tensor& row,
                              const at::Tensor& gates) {
  const int64_t N = gates.size(0);
  const int64_t k = gates.size(1);
  at::Tensor chosen = at::index_select(y, 0, row).view({N, k, -1});
  at::Tensor first = chosen.narrow(1, 0, 1);  // [N, 1, D]
  at::Tensor others = chosen.narrow(1, 1, k - 1) - first;
  at::Tensor weights = gates.narrow(1, 1, k - 1).unsqueeze(-1);
  return first.squeeze(1) + at::sum(weights * others, 1);
}

}  // namespace annuli::kernels
