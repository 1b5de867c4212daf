#include "annuli/kernels/optim/muon.h"

#include "annuli/core/error.h"
#include "annuli/kernels/cpu/optim/muon.h"
#include "annuli/kernels/dispatch.h"
#include "annuli/kernels/tensor_words.h"

namespace annuli::kernels {

double muon(at::Tensor& parameter, const at::Tensor& gradient, at::Tensor& m,
            const MuonStep& step) {
  ANNULI_CHECK(parameter.dim() == 2 && gradient.sizes() == parameter.sizes() &&
                   m.sizes() == parameter.sizes(),
               "the weight is {}, its gradient {}, its momentum {}",
               words_of(parameter), words_of(gradient), words_of(m));
  ANNULI_CHECK(step.matrices == 1 ||
                   parameter.size(0) % (step.matrices * step.rows) == 0,
               "{} matrices of {} rows in turn in {}", step.matrices, step.rows,
               words_of(parameter));
  return is_plain(parameter) && is_plain(m)
             ? cpu::muon(parameter, gradient, m, step)
             : reference::muon(parameter, gradient, m, step);
}

}  // namespace annuli::kernels
