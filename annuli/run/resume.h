#pragma once

#include <optional>

#include "annuli/config/plan.h"
#include "annuli/parallel/process_group.h"
#include "annuli/run/run_folder.h"
#include "annuli/run/run_state.h"

namespace annuli::run {

// The newest whole state of the run in the folder, to go on from; nothing if
// none was saved. Damaged ones are named on standard error and set aside.
//
// If the plan is not the one that the state was saved under, each change is
// printed with what it means. Changes of what is still to come are taken; one
// that would have led to another state is a UserError.
//
// All processes of the group read it, and must find the same one.
std::optional<RunState> resume(RunFolder& folder, const Plan& plan,
                               at::Device device,
                               parallel::ProcessGroup& group);

}  // namespace annuli::run
