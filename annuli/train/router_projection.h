#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "annuli/core/rng.h"
#include "annuli/model/transformer.h"

namespace annuli::train {

// Takes the component along each layer's mean activation out of every row of
// its router: W -= (W u) u^T, u = mean / |mean|. Routing then sees the centred
// activation, in which tokens differ, and not the mean that they share.
// Routers in bf16 are rounded stochastically.
void project_routers(Transformer& model,
                     const std::vector<at::Tensor>& router_mean,
                     const CounterRng& rounding);

}  // namespace annuli::train
