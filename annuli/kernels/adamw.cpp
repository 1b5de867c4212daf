#include "annuli/kernels/adamw.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "annuli/core/error.h"

namespace annuli::kernels {

void adamw(at::Tensor& parameter, const at::Tensor& gradient, at::Tensor& m,
           at::Tensor& v, const AdamwStep& step) {
  reference::adamw(parameter, gradient, m, v, step);
}

void reference::adamw(at::Tensor& parameter, const at::Tensor& gradient,
                      at::Tensor& m, at::Tensor& v, const AdamwStep& step) {
  const at::NoGradGuard no_grad;
  const auto t = static_cast<double>(step.step);
  const double correction1 = 1 - std::pow(step.beta1, t);
  const double correction2 = std::sqrt(1 - std::pow(step.beta2, t));
  at::Tensor g = gradient * step.gradient_scale;
  parameter.mul_(1 - step.learning_rate * step.weight_decay);
  m.mul_(step.beta1).add_(g, 1 - step.beta1);
  v.mul_(step.beta2).addcmul_(g, g, 1 - step.beta2);
  at::Tensor denominator = (v.sqrt() / correction2).add_(step.eps);
  parameter.addcdiv_(m, denominator, -step.learning_rate / correction1);
}

}  // namespace annuli::kernels
