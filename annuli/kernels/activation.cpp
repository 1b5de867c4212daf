#include "annuli/kernels/activation.h"

#include <ATen/record_function.h>

#include "annuli/core/error.h"
#include "annuli/kernels/activation_formulas.h"
#include "annuli/kernels/cpu/activation.h"
#include "annuli/kernels/dispatch.h"
#include "annuli/kernels/tensor_words.h"

namespace annuli::kernels {

namespace {

bool is_known(Activation kind) {
#define ANNULI_IS(NAME, WORD) || kind == Activation::NAME
  return false ANNULI_ACTIVATIONS(ANNULI_IS);
#undef ANNULI_IS
}

void check(Activation kind, const at::Tensor& x, const at::Tensor& other) {
  ANNULI_CHECK(is_known(kind), "no kernel of activation {}",
               static_cast<int>(kind));
  ANNULI_CHECK(is_plain(x), "an activation in one pass is the host's alone");
  if (!other.defined()) return;
  ANNULI_CHECK(other.sizes() == x.sizes() && is_plain(other), "{} beside {}",
               words_of(other), words_of(x));
}

}  // namespace

Activated activate(Activation kind, const at::Tensor& x, const at::Tensor& gate,
                   bool rounded, bool keep) {
  RECORD_USER_SCOPE("activation");
  check(kind, x, gate);
  return cpu::activate(kind, x, gate, rounded, keep);
}

ActivationGradients activate_backward(Activation kind, const at::Tensor& dout,
                                      const at::Tensor& x,
                                      const at::Tensor& gate, bool rounded) {
  RECORD_USER_SCOPE("activation backward");
  check(kind, x, gate);
  check(kind, x, dout);
  return cpu::activate_backward(kind, dout, x, gate, rounded);
}

}  // namespace annuli::kernels
