#pragma once

#include <optional>
#include <string>

#include "annuli/run/running_plan.h"

namespace annuli::run {

// Exchanges a state that failed for the newest saved one, with a lower learning
// rate until its phase ends, and saves that at once: it is part of the run from
// there on. Failing again before another state was saved means that the state
// was no good; then the one before it, if it is still there.
//
// Throws VerdictError with the reason if the plan's max_rollbacks are used up,
// or there is nothing to go back to.
void roll_back(RunningPlan& run, std::optional<RunState>& state,
               const std::string& reason);

}  // namespace annuli::run
