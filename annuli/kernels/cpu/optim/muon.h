#pragma once

#include "annuli/kernels/optim/muon.h"

namespace annuli::kernels::cpu {

// Weights and momentum in one piece.
double muon(at::Tensor& parameter, const at::Tensor& gradient, at::Tensor& m,
            const MuonStep& step);

}  // namespace annuli::kernels::cpu
