#pragma once

#include "annuli/run/running_plan.h"

namespace annuli::run {

// Loss on the fixed held-out windows, into the history.
void evaluate(RunningPlan& run, const RunState& state);

// Evaluates and proves the trained model, writes its checkpoint and lineage,
// saves the state (but after the last phase), and makes the samples.
// VerdictError if a check fails. Stopped within, it is begun again by whoever
// resumes; after the state, with the samples.
void end_phase(RunningPlan& run, RunState& state);

// The samples of a phase that has ended, if they are not there. Never ends the
// run: where they cannot be made a warning on standard error says why.
void make_samples(RunningPlan& run, const RunState& state);

}  // namespace annuli::run
