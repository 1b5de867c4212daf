#include "annuli/kernels/optim/adamw_8bit.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include "annuli/kernels/optim/squared_norm.h"
#include "annuli/kernels/reference/optim/widened.h"

namespace annuli::kernels {

double reference::adamw_8bit(at::Tensor& parameter, const at::Tensor& gradient,
                             Quantized& m, Quantized& v,
                             const AdamwStep& step) {
  const at::NoGradGuard no_grad;
  at::Tensor first = dequantize(m.codes, m.scales, Codes::kSigned);
  at::Tensor second = dequantize(v.codes, v.scales, Codes::kUnsigned);
  Widened p(parameter, at::kFloat);
  adamw_in(p.values, gradient.to(at::kFloat), first, second, step);
  p.store(step.rounding, Operand::kWeight);
  m = reference::quantize(first, Codes::kSigned);
  v = reference::quantize(second, Codes::kUnsigned);
  return reference::squared_norm(gradient);
}

}  // namespace annuli::kernels
