#pragma once

#include <cstdint>

#include "annuli/config/plan.h"
#include "annuli/train/batch_ahead.h"

// How a step's passes are laid out: parts of `gradient_accumulation_steps`
// passes, each over `micro_batch_size` windows, in the order of the windows.
namespace annuli::train {

struct StepShare {
  explicit StepShare(const TrainPlan& train)
      : parts(batch_parts(train)),
        passes_of_part(train.gradient_accumulation_steps),
        passes_of_step(step_passes(train)),
        windows_of_pass(train.batch_size / parts) {}

  int64_t parts;
  int64_t passes_of_part;
  int64_t passes_of_step;
  int64_t windows_of_pass;

  int64_t windows_of_step() const { return passes_of_step * windows_of_pass; }
  StepWindows windows() const {
    return {.in_step = windows_of_step(),
            .in_pass = windows_of_pass,
            .passes = parts * passes_of_part};
  }
  // What a pass weighs in the means of the step.
  double of_pass() const { return 1.0 / static_cast<double>(passes_of_step); }
};

// Whether the whole gradient of a step exists at once: it is clipped by its
// norm, or it is the sum of several passes.
inline bool holds_gradient(const TrainPlan& train) {
  return step_passes(train) > 1 ||
         (train.max_grad_norm > 0 && train.clip == ClipNorm::kWhole);
}

}  // namespace annuli::train
