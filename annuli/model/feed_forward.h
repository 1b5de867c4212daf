#pragma once

#include <ATen/core/Tensor.h>

#include "annuli/kernels/feed_forward.h"

// The feed-forward layer of a dense block or of one expert:
// down(act(up x)), or down(act(gate x) * up x) where gated, each with its bias
// where there is one.
namespace annuli {

// x: [..., D] -> [..., D]. kernels::feed_forward where the types let it, else
// projections (projection.h) one by one.
at::Tensor feed_forward(const at::Tensor& x, const kernels::FeedForward& layer);

}  // namespace annuli
