#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

#include "annuli/config/model_config.h"
#include "annuli/kernels/mixture.h"
#include "annuli/model/feed_forward.h"
#include "annuli/model/transformer.h"

// The mixture of experts in a block: router, top-k, experts, combine.
namespace annuli {

// The weights of expert e, asked for when its turn comes.
using ExpertWeights = std::function<FeedForwardWeights(int64_t e)>;

struct MixtureOutput {
  at::Tensor y;              // [B, T, D]
  at::Tensor router_logits;  // [B*T, E], differentiable
  kernels::Routing routing;
};

// x: [B, T, D], normed; router: [E, D].
MixtureOutput mixture(const at::Tensor& x, const at::Tensor& router,
                      const ExpertWeights& expert_weights,
                      const ModelConfig& config, Dispatch dispatch,
                      uint64_t tie_break_seed);

}  // namespace annuli
