#include "annuli/kernels/optim/muon.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include "annuli/kernels/optim/newton_schulz.h"
#include "annuli/kernels/optim/squared_norm.h"
#include "annuli/kernels/reference/optim/widened.h"

namespace annuli::kernels {

double reference::muon(at::Tensor& parameter, const at::Tensor& gradient,
                       at::Tensor& m, const MuonStep& step) {
  const at::NoGradGuard no_grad;
  const at::ScalarType arithmetic = arithmetic_type(parameter);
  const at::Tensor fresh =
      gradient.to(arithmetic) * ((1 - step.momentum) * step.gradient_scale);
  Widened mean(m, arithmetic);
  mean.values.mul_(step.momentum).add_(fresh);
  at::Tensor direction = mean.values * step.momentum + fresh;
  mean.store(step.rounding, Operand::kFirstMoment);
  for_each_matrix(direction, step, [&](at::Tensor& matrix) {
    reference::orthogonalize(matrix, step.eps);
  });
  Widened p(parameter, arithmetic);
  p.values.sub_(p.values * step.decay + direction * step.learning_rate);
  p.store(step.rounding, Operand::kWeight);
  return reference::squared_norm(gradient);
}

}  // namespace annuli::kernels
