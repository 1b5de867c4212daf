#pragma once

#include "annuli/kernels/activation.h"

namespace annuli::kernels::cpu {

Activated activate(Activation kind, const at::Tensor& x, const at::Tensor& gate,
                   bool rounded, bool keep);

ActivationGradients activate_backward(Activation kind, const at::Tensor& dout,
                                      const at::Tensor& kept_x,
                                      const at::Tensor& kept_gate,
                                      bool rounded);

}  // namespace annuli::kernels::cpu
