#include "annuli/kernels/optim/adafactor.h"

#include <algorithm>
#include <cmath>

#include "annuli/core/error.h"
#include "annuli/kernels/cpu/optim/adafactor.h"
#include "annuli/kernels/dispatch.h"
#include "annuli/kernels/optim/squared_norm.h"
#include "annuli/kernels/tensor_words.h"

namespace annuli::kernels {

double second_decay(const AdafactorStep& step) {
  ANNULI_CHECK(step.step >= 1, "step {}, expected one from 1 on", step.step);
  return 1 - std::pow(static_cast<double>(step.step), -step.decay_rate);
}

double rate_of(const AdafactorStep& step, const at::Tensor& parameter) {
  if (!step.scale_parameter) return step.learning_rate;
  const double rms = std::sqrt(squared_norm(parameter) /
                               static_cast<double>(parameter.numel()));
  return step.learning_rate * std::max(step.least_rms, rms);
}

double adafactor(at::Tensor& parameter, const at::Tensor& gradient,
                 at::Tensor& rows, at::Tensor& columns,
                 const AdafactorStep& step) {
  ANNULI_CHECK(parameter.dim() == 2 && gradient.sizes() == parameter.sizes(),
               "the weight is {}, its gradient {}", words_of(parameter),
               words_of(gradient));
  ANNULI_CHECK(
      rows.numel() == parameter.size(0) && columns.numel() == parameter.size(1),
      "the weight is {}, its factors {} and {}", words_of(parameter),
      words_of(rows), words_of(columns));
  return is_plain(parameter) && is_plain(rows) && is_plain(columns)
             ? cpu::adafactor(parameter, gradient, rows, columns, step)
             : reference::adafactor(parameter, gradient, rows, columns, step);
}

// Gains and biases: too small for a pass of its own.
double adafactor(at::Tensor& parameter, const at::Tensor& gradient,
                 at::Tensor& v, const AdafactorStep& step) {
  return reference::adafactor(parameter, gradient, v, step);
}

}  // namespace annuli::kernels
