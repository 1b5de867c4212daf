#pragma once

#include "annuli/config/plan.h"
#include "annuli/parallel/process_group.h"

namespace annuli::run {

// What all processes of a run must have alike, compared before anything is
// written: the program to the byte, the number of threads, and the fields of
// the plan that count. UserError on all processes: the first difference, and
// between which.
void require_alike(const Plan& plan, parallel::ProcessGroup& group);

}  // namespace annuli::run
