#include "annuli/kernels/optim/adamw_8bit.h"

#include "annuli/core/error.h"
#include "annuli/kernels/cpu/optim/adamw_8bit.h"
#include "annuli/kernels/dispatch.h"
#include "annuli/kernels/tensor_words.h"

namespace annuli::kernels {
namespace {

void check_state(const at::Tensor& parameter, const at::Tensor& gradient,
                 const Quantized& moment) {
  ANNULI_CHECK(gradient.sizes() == parameter.sizes(),
               "the weight is {}, its gradient {}", words_of(parameter),
               words_of(gradient));
  ANNULI_CHECK(is_plain(parameter), "8-bit moments are the host's alone");
  ANNULI_CHECK(
      moment.codes.sizes() == parameter.sizes() && moment.codes.is_contiguous(),
      "the weight is {}, the codes of a moment {}", words_of(parameter),
      words_of(moment.codes));
  ANNULI_CHECK(moment.scales.numel() == quantized_blocks(parameter.numel()),
               "{} scales for {} entries", moment.scales.numel(),
               parameter.numel());
}

}  // namespace

double adamw_8bit(at::Tensor& parameter, const at::Tensor& gradient,
                  Quantized& m, Quantized& v, const AdamwStep& step) {
  check_state(parameter, gradient, m);
  check_state(parameter, gradient, v);
  return cpu::adamw_8bit(parameter, gradient, m, v, step);
}

}  // namespace annuli::kernels
