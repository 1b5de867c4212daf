#pragma once

#include <cstdint>
#include <string>

#include "annuli/config/plan.h"
#include "annuli/train/batch_ahead.h"

// How a step's passes are laid out, and which of them are one process'.
//
// A step is parts of `gradient_accumulation_steps` passes, each over
// `micro_batch_size` windows, in the order of the windows. Of N processes, a
// power of two that divides the number of parts, process r makes the parts
// [r P/N, (r+1) P/N): a node of the tree that sums them (parallel/sum_tree.h).
namespace annuli::train {

struct StepShare {
  explicit StepShare(const TrainPlan& train, int64_t rank = 0,
                     int64_t processes = 1);

  int64_t first_part;  // this process'
  int64_t parts;       // this process'
  int64_t passes_of_part;
  int64_t passes_of_step;  // of all processes
  int64_t windows_of_pass;

  int64_t passes() const { return parts * passes_of_part; }
  int64_t first_pass() const { return first_part * passes_of_part; }
  int64_t windows_of_step() const { return passes_of_step * windows_of_pass; }
  StepWindows windows() const {
    return {.in_step = windows_of_step(),
            .first = first_pass() * windows_of_pass,
            .in_pass = windows_of_pass,
            .passes = passes()};
  }
  // What a pass weighs in the means of the step.
  double of_pass() const { return 1.0 / static_cast<double>(passes_of_step); }
};

// Whether the whole gradient of a step exists at once: it is clipped by its
// norm, or it is the sum of several passes.
bool holds_gradient(const TrainPlan& train);

// UserError, one line: so many processes can't share the steps of one or more
// of the plan's phases. It says which, and what to set.
void require_shareable(const Plan& plan, int64_t processes);

}  // namespace annuli::train
