#pragma once

#include "annuli/run/running_plan.h"

namespace annuli::run {

// Takes the state from the end of a phase into the next: grows the model if the
// plan says so, and proves it. Nothing is written before the proof holds but
// the proof itself; where it does not, VerdictError, and the state is spent.
void begin_phase(RunningPlan& run, RunState& state);

// The growth alone, of the phase that the state is in.
void grow_into_phase(RunningPlan& run, RunState& state);

}  // namespace annuli::run
