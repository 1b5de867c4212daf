#pragma once

#include <vector>

#include "annuli/model/transformer.h"
#include "annuli/verify/probe.h"
#include "annuli/verify/verdict.h"

// Experts must all work. Output equality cannot see a router that sends every
// token to the same experts: the model is right and can never learn.
namespace annuli::verify {

// Right after growth: on the router probe no expert without a slot, and the
// fullest at most 3 x the mean, in any layer.
std::vector<Verdict> router_load(const Transformer& model, const Probe& probe);
// The same of a pass that was made already. experts: by layer, [N, k], what the
// tokens chose.
std::vector<Verdict> router_load(const Transformer& model,
                                 const std::vector<at::Tensor>& experts);

// After the phase: the same; experts pairwise distinct; and every router got a
// gradient in every step from the second on (the first is zero while experts
// are equal). router_grad_norm: [step][layer].
std::vector<Verdict> router_health(
    const Transformer& model, const Probe& probe,
    const std::vector<std::vector<double>>& router_grad_norm);

}  // namespace annuli::verify
