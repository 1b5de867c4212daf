#pragma once

#include <functional>

#include "annuli/config/plan.h"
#include "annuli/parallel/process_group.h"

namespace annuli::cli {

// Does `work` with the processes that were started together with this one (by
// `--processes`, torchrun, mpirun or srun), or alone.
//
// Of several the first one speaks: what another prints is dropped, its notices
// too, and its warnings and errors name its rank. A process that
// fails tells the others, which then end with its status.
void with_group(const Plan& plan,
                const std::function<void(parallel::ProcessGroup&)>& work);

}  // namespace annuli::cli
