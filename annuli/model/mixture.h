#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

#include "annuli/config/model_config.h"
#include "annuli/kernels/mixture.h"
#include "annuli/model/feed_forward.h"
#include "annuli/model/transformer.h"

// The mixture of experts in a block: router, top-k, experts, combine; and the
// shared expert beside them, times sigmoid(gate x), where there is one.
namespace annuli {

// The weights of expert e (or kSharedExpert), asked for when its turn comes.
using ExpertWeights = std::function<kernels::FeedForward(int64_t e)>;

struct MixtureOutput {
  at::Tensor y;              // [B, T, D]
  at::Tensor router_logits;  // [B*T, E], differentiable
  kernels::Routing routing;
};

// x: [B, T, D]; router: [E, D]; shared_gate: [1, D], undefined without a shared
// expert. Where the gates are not renormalised (norm_topk_prob false) the
// combined output is multiplied by the sum of the chosen probabilities. The
// router reads x as it is; sorted experts may get theirs as `expert_rows`.
MixtureOutput mixture(const at::Tensor& x, const at::Tensor& router,
                      const at::Tensor& shared_gate,
                      const ExpertWeights& expert_weights,
                      const ModelConfig& config, Dispatch dispatch,
                      at::ScalarType expert_rows, uint64_t tie_break_seed);

}  // namespace annuli
