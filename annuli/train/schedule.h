#pragma once

#include <cstdint>

#include "annuli/config/phase_plan.h"

namespace annuli::train {

// The learning rate of step `step` (1 .. max_steps) of a phase.
//
//   warm-up   rate * step / warmup_steps, for the first warmup_steps steps
//   constant  rate
//   linear    from rate down to min = min_lr_ratio * rate at max_steps
//   cosine    min + (rate - min) (1 + cos(pi x)) / 2
//   wsd       rate, then linear down to min over the last decay_ratio of the
//             phase (warm-up, stable, decay)
// with x the share of the steps after the warm-up.
double learning_rate(const TrainPlan& plan, int64_t step);

}  // namespace annuli::train
