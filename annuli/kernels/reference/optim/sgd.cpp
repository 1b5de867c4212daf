#include "annuli/kernels/optim/sgd.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include "annuli/kernels/optim/squared_norm.h"
#include "annuli/kernels/reference/optim/widened.h"

namespace annuli::kernels {

double reference::sgd(at::Tensor& parameter, const at::Tensor& gradient,
                      at::Tensor& m, const SgdStep& step) {
  const at::NoGradGuard no_grad;
  const at::ScalarType arithmetic = arithmetic_type(parameter);
  at::Tensor direction = gradient.to(arithmetic) * step.gradient_scale;
  if (m.defined()) {
    Widened kept(m, arithmetic);
    kept.values.mul_(step.momentum).add_(direction);
    direction = kept.values;
    kept.store(step.rounding, Operand::kFirstMoment);
  }
  Widened p(parameter, arithmetic);
  p.values.sub_(p.values * step.decay + direction * step.learning_rate);
  p.store(step.rounding, Operand::kWeight);
  return reference::squared_norm(gradient);
}

}  // namespace annuli::kernels
