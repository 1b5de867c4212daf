#pragma once

#include "annuli/config/model_config.h"
#include "annuli/config/phase_plan.h"

// What is to be computed: floating-point operations of matrix products, a
// multiplication and an addition counted as two.
namespace annuli::budget {

// One token's forward pass among `length` tokens: projections, the chosen
// experts, causal attention (half the square), the head.
double forward_flops(const ModelConfig& config, int64_t length);

// One update: forward and backward of every pass, forward again where blocks
// are checkpointed, all of it twice where the norm is found first. `frozen`:
// entries of matrices that a token meets and that have no gradient.
double step_flops(const ModelConfig& config, const TrainPlan& train,
                  int64_t sequence_length, double frozen = 0);

}  // namespace annuli::budget
