#include "annuli/kernels/optim/adamw.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include "annuli/kernels/optim/squared_norm.h"
#include "annuli/kernels/reference/optim/widened.h"

namespace annuli::kernels {

void reference::adamw_in(at::Tensor& parameter, const at::Tensor& gradient,
                         at::Tensor& m, at::Tensor& v, const AdamwStep& step) {
  const at::NoGradGuard no_grad;
  const AdamwFactors f(step);
  const at::Tensor g = gradient * step.gradient_scale;
  parameter.sub_(parameter * f.decay);
  m.mul_(step.beta1).add_(g, 1 - step.beta1);
  v.mul_(step.beta2).addcmul_(g, g, 1 - step.beta2);
  const at::Tensor denominator =
      (v.sqrt() * f.inverse_correction).add_(step.eps);
  parameter.addcdiv_(m, denominator, -f.rate);
}

double reference::adamw(at::Tensor& parameter, const at::Tensor& gradient,
                        at::Tensor& m, at::Tensor& v, const AdamwStep& step) {
  const at::NoGradGuard no_grad;
  const at::ScalarType arithmetic = arithmetic_type(parameter);
  Widened p(parameter, arithmetic), first(m, arithmetic), second(v, arithmetic);
  adamw_in(p.values, gradient.to(arithmetic), first.values, second.values,
           step);
  p.store(step.rounding, Operand::kWeight);
  first.store(step.rounding, Operand::kFirstMoment);
  second.store(step.rounding, Operand::kSecondMoment);
  return reference::squared_norm(gradient);
}

}  // namespace annuli::kernels
