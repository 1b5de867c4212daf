#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

#include "annuli/core/rng.h"
#include "annuli/model/transformer.h"

namespace annuli::train {

// Takes the component along each layer's mean activation out of every row of
// its router: W -= (W u) u^T, u = mean / |mean|. Routing then sees the centred
// activation, in which tokens differ, and not the mean that they share.
// Routers in bf16 are rounded stochastically. `holds`: whether a row's weight
// is to be changed here.
void project_routers(
    Transformer& model, const std::vector<at::Tensor>& router_mean,
    const CounterRng& rounding,
    const std::function<bool(size_t row)>& holds = [](size_t) { return true; });

}  // namespace annuli::train
