#include "annuli/kernels/optim/newton_schulz.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/mm.h>

namespace annuli::kernels {

void reference::orthogonalize(at::Tensor& x, double eps) {
  const at::NoGradGuard no_grad;
  const auto [a, b, c] = kNewtonSchulz;
  const bool tall = x.size(0) > x.size(1);
  if (tall) x = x.t();
  x = x / at::linalg_vector_norm(x).clamp_min(eps);
  for (int step = 0; step < kNewtonSchulzSteps; ++step) {
    const at::Tensor gram = x.mm(x.t());
    x = x * a + (gram * b + gram.mm(gram) * c).mm(x);
  }
  if (tall) x = x.t();
}

}  // namespace annuli::kernels
