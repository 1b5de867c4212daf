#include "annuli/kernels/quantize/stochastic_rounding.h"

#include "annuli/core/error.h"
#include "annuli/kernels/cpu/quantize/stochastic_rounding.h"
#include "annuli/kernels/dispatch.h"
#include "annuli/kernels/tensor_words.h"

namespace annuli::kernels {

void round_stochastically(const at::Tensor& values, const CounterRng& rng,
                          Operand operand, at::Tensor& target) {
  ANNULI_CHECK(values.sizes() == target.sizes(), "{} is rounded into {}",
               words_of(values), words_of(target));
  if (is_plain(values) && is_plain(target)) {
    cpu::round_stochastically(values, rng, operand, target);
  } else {
    reference::round_stochastically(values, rng, operand, target);
  }
}

}  // namespace annuli::kernels
