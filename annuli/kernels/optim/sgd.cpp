#include "annuli/kernels/optim/sgd.h"

#include "annuli/core/error.h"
#include "annuli/kernels/cpu/optim/sgd.h"
#include "annuli/kernels/dispatch.h"
#include "annuli/kernels/tensor_words.h"

namespace annuli::kernels {
namespace {

void check_state(const at::Tensor& parameter, const at::Tensor& gradient,
                 const at::Tensor& m, const SgdStep& step) {
  ANNULI_CHECK(gradient.sizes() == parameter.sizes(),
               "the weight is {}, its gradient {}", words_of(parameter),
               words_of(gradient));
  ANNULI_CHECK(m.defined() == (step.momentum != 0),
               "with momentum {} the moment is {}", step.momentum, words_of(m));
  ANNULI_CHECK(!m.defined() || m.sizes() == parameter.sizes(),
               "the weight is {}, its moment {}", words_of(parameter),
               words_of(m));
}

}  // namespace

double sgd(at::Tensor& parameter, const at::Tensor& gradient, at::Tensor& m,
           const SgdStep& step) {
  check_state(parameter, gradient, m, step);
  return is_plain(parameter) && (!m.defined() || is_plain(m))
             ? cpu::sgd(parameter, gradient, m, step)
             : reference::sgd(parameter, gradient, m, step);
}

}  // namespace annuli::kernels
