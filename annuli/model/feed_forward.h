#pragma once

#include <ATen/core/Tensor.h>

#include "annuli/config/model_config.h"
#include "annuli/model/projection.h"

// The feed-forward layer of a dense block or of one expert:
// down(act(up x)), or down(act(gate x) * up x) where gated, each with its bias
// where there is one.
namespace annuli {

struct FeedForwardWeights {
  Matrix gate;                // [F, D], undefined if ungated
  Matrix up;                  // [F, D]
  Matrix down;                // [D, F]
  at::Tensor gate_bias = {};  // [F], undefined where there is none
  at::Tensor up_bias = {};    // [F]
  at::Tensor down_bias = {};  // [D]
};

// x: [..., D] -> [..., D].
at::Tensor feed_forward(const at::Tensor& x, const FeedForwardWeights& weights,
                        Activation activation);

}  // namespace annuli
