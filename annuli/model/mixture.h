#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "annuli/config/model_config.h"
#include "annuli/kernels/mixture.h"
#include "annuli/model/feed_forward.h"
#include "annuli/model/transformer.h"

// The mixture of experts in a block: router, top-k, experts, combine.
namespace annuli {

struct MixtureWeights {
  const at::Tensor& router;  // [E, D]
  std::vector<FeedForwardWeights> experts;
};

struct MixtureOutput {
  at::Tensor y;              // [B, T, D]
  at::Tensor router_logits;  // [B*T, E], differentiable
  kernels::Routing routing;
};

// x: [B, T, D], normed.
MixtureOutput mixture(const at::Tensor& x, const MixtureWeights& weights,
                      const ModelConfig& config, Dispatch dispatch,
                      uint64_t tie_break_seed);

}  // namespace annuli
