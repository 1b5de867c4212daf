#pragma once

#include <ATen/core/Tensor.h>

#include "annuli/core/rng.h"

namespace annuli::grow {

// A router [E, D] of normal numbers times `std`, each row made orthogonal to
// `mean`: [D], the layer's mean input, or [R, D], orthonormal directions
// (router_mean.h), after which the deviation is `std` again. An undefined or
// zero mean leaves the rows as drawn. Orthogonal to the rounding of `dtype`:
// the projection is fp64.
at::Tensor random_router(at::IntArrayRef shape, double std,
                         const at::Tensor& mean, const CounterRng& rng,
                         at::ScalarType dtype);

}  // namespace annuli::grow
