#include "annuli/kernels/optim/adamw.h"

#include <cmath>

#include "annuli/core/error.h"
#include "annuli/kernels/cpu/optim/adamw.h"
#include "annuli/kernels/dispatch.h"
#include "annuli/kernels/tensor_words.h"

namespace annuli::kernels {

AdamwFactors::AdamwFactors(const AdamwStep& step)
    : decay(step.learning_rate * step.weight_decay) {
  ANNULI_CHECK(step.step >= 1, "step {}, expected one from 1 on", step.step);
  const auto t = static_cast<double>(step.step);
  rate = step.learning_rate / (1 - std::pow(step.beta1, t));
  inverse_correction = 1 / std::sqrt(1 - std::pow(step.beta2, t));
}

namespace {

void check_state(const at::Tensor& parameter, const at::Tensor& gradient,
                 const at::Tensor& m, const at::Tensor& v) {
  for (const at::Tensor* other : {&gradient, &m, &v}) {
    ANNULI_CHECK(other->sizes() == parameter.sizes() &&
                     other->device() == parameter.device(),
                 "the weight is {}, its gradient or a moment {}",
                 words_of(parameter), words_of(*other));
  }
  ANNULI_CHECK(m.scalar_type() == v.scalar_type(), "the moments are {} and {}",
               words_of(m), words_of(v));
}

}  // namespace

double adamw(at::Tensor& parameter, const at::Tensor& gradient, at::Tensor& m,
             at::Tensor& v, const AdamwStep& step) {
  check_state(parameter, gradient, m, v);
  return is_plain(parameter) && is_plain(m) && is_plain(v)
             ? cpu::adamw(parameter, gradient, m, v, step)
             : reference::adamw(parameter, gradient, m, v, step);
}

}  // namespace annuli::kernels
