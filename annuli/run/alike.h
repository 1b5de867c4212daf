#pragma once

#include "annuli/config/plan.h"
#include "annuli/parallel/process_group.h"

namespace annuli::run {

// What all processes of a run must have alike, compared before anything is
// written: the program to the byte, the fields of the plan that count, and the
// number of threads. UserError on all processes: the first difference, and
// between which.
void require_alike(const Plan& plan, parallel::ProcessGroup& group);

// The same of what was read: `hash` stands for it.
void require_alike_data(const std::string& hash, parallel::ProcessGroup& group);

}  // namespace annuli::run
