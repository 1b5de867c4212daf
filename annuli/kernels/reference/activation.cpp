#include "annuli/kernels/activation.h"

#include "annuli/core/error.h"
#include "annuli/kernels/activation_formulas.h"

namespace annuli::kernels {
namespace {

at::Tensor of_kind(Activation kind, const at::Tensor& x) {
#define ANNULI_OF(NAME, WORD) \
  if (kind == Activation::NAME) return Formula<Activation::NAME>::of(x);
  ANNULI_ACTIVATIONS(ANNULI_OF)
#undef ANNULI_OF
  ANNULI_CHECK(false, "no formula of activation {}", static_cast<int>(kind));
}

}  // namespace

at::Tensor reference::activate(Activation kind, const at::Tensor& x,
                               const at::Tensor& gate) {
  const at::Tensor active = of_kind(kind, gate.defined() ? gate : x);
  return gate.defined() ? active * x : active;
}

}  // namespace annuli::kernels
