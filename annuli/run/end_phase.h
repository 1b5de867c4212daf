#pragma once

#include "annuli/run/running_plan.h"

namespace annuli::run {

// Loss on the fixed held-out windows, into the history.
void evaluate(RunningPlan& run, const RunState& state);

// Evaluates and proves the trained model, writes its checkpoint, lineage and
// samples, and saves the state (but after the last phase). VerdictError if a
// check fails. Stopped within, it is begun again by whoever resumes.
void end_phase(RunningPlan& run, RunState& state);

}  // namespace annuli::run
