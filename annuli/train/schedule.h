#pragma once

#include <cstdint>
#include <optional>

#include "annuli/config/plan.h"

namespace annuli::train {

// Tokens of a training window of the phase: its own length, or the data's.
int64_t window_length(const Plan& plan, const TrainPlan& train);

// Of all passes and parts of one update.
double tokens_of_step(const Plan& plan, const TrainPlan& train);

// Where a phase lies in a run that has a schedule, in tokens from the run's
// beginning.
struct PlaceInRun {
  LrSchedulerType type = LrSchedulerType::kConstant;
  double min_lr_ratio = 0;
  double before = 0;       // tokens of the phases before
  double of_step = 0;      // tokens of one step of this phase
  double warmup_end = 0;   // the rate rises in a line up to here
  double decay_begin = 0;  // wsd: it falls from here on
  double end = 0;          // of the run
};

// The place of phase `phase`; nullopt if the phase has a schedule of its own.
// The decay of wsd begins no earlier than the last phase that grows: no model
// is decayed and then grown.
std::optional<PlaceInRun> place_in_run(const Plan& plan, size_t phase);

// The learning rate of step `step` (1 .. max_steps) of a phase.
//
//   warm-up   rate * x / warm-up
//   constant  rate
//   linear    from rate down to min = min_lr_ratio * rate at the end
//   cosine    min + (rate - min) (1 + cos(pi y)) / 2
//   wsd       rate, then linear down to min (warm-up, stable, decay)
// with x steps of the phase, up to max_steps, the decay its last decay_ratio;
// in a run with a schedule x tokens of the run; y is the share of what follows
// the warm-up. All of it times step / rewarm_steps in the first rewarm_steps,
// unless those are of new entries alone.
double learning_rate(const TrainPlan& plan, int64_t step,
                     const std::optional<PlaceInRun>& run = {});

// The rate of what the phase's growth added, as a share of that.
double share_of_new(const TrainPlan& plan, int64_t step);

}  // namespace annuli::train
