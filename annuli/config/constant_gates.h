#pragma once

#include "annuli/config/model_config.h"

// A router that cannot learn from the language-model loss, whatever its
// weights. The k chosen gates are renormalised to sum 1, so with k = 1 the one
// gate is 1 for every token: the output does not depend on it, and its gradient
// is exactly 0. The balance loss still moves the router, so that nothing else
// shows it. Raw gates (norm_topk_prob: false) have a gradient with any k, but a
// mixture of copies with raw gates is the dense layer times their sum, another
// function.
namespace annuli {

inline bool has_constant_gates(const ModelConfig& config) {
  return config.is_mixture() && config.num_experts_per_tok == 1 &&
         config.norm_topk_prob;
}

// The reason, after "found 1" or a colon.
inline constexpr const char* kConstantGates =
    "the one gate, renormalised, is always 1, so the language-model loss gives "
    "the router no gradient and it never learns whom to choose";

// What to do instead.
inline constexpr const char* kInsteadOfConstantGates =
    "2 or more (raw gates, norm_topk_prob: false, would learn with 1 but do "
    "not keep the parent's function)";

}  // namespace annuli
