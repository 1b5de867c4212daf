#include "annuli/kernels/optim/adafactor.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "annuli/kernels/optim/squared_norm.h"
#include "annuli/kernels/reference/optim/widened.h"

namespace annuli::kernels {
namespace {

// p -= lr weight_decay p + lr u / max(1, rms(u) / threshold)
void step_along(at::Tensor& parameter, const at::Tensor& u,
                const AdafactorStep& step) {
  const double rate = rate_of(step, parameter);
  const double rms =
      std::sqrt(reference::squared_norm(u) / static_cast<double>(u.numel()));
  const double clip = std::max(1.0, rms / step.clip_threshold);
  reference::Widened p(parameter, u.scalar_type());
  p.values.sub_(p.values * (rate * step.weight_decay) + u * (rate / clip));
  p.store(step.rounding, Operand::kWeight);
}

}  // namespace

double reference::adafactor(at::Tensor& parameter, const at::Tensor& gradient,
                            at::Tensor& rows, at::Tensor& columns,
                            const AdafactorStep& step) {
  const at::NoGradGuard no_grad;
  const at::Tensor g =
      gradient.to(arithmetic_type(parameter)) * step.gradient_scale;
  const double kept = second_decay(step);
  const at::Tensor squares = g.square() + step.eps;
  rows.mul_(kept).add_(squares.mean(1), 1 - kept);
  columns.mul_(kept).add_(squares.mean(0), 1 - kept);
  const at::Tensor of_rows = (rows / rows.mean()).rsqrt().unsqueeze(1);
  step_along(parameter, g * of_rows * columns.rsqrt().unsqueeze(0), step);
  return reference::squared_norm(gradient);
}

double reference::adafactor(at::Tensor& parameter, const at::Tensor& gradient,
                            at::Tensor& v, const AdafactorStep& step) {
  const at::NoGradGuard no_grad;
  const at::Tensor g =
      gradient.to(arithmetic_type(parameter)) * step.gradient_scale;
  const double kept = second_decay(step);
  v.mul_(kept).add_(g.square() + step.eps, 1 - kept);
  step_along(parameter, g * v.rsqrt(), step);
  return reference::squared_norm(gradient);
}

}  // namespace annuli::kernels
