#pragma once

#include <functional>
#include <string_view>

#include "annuli/parallel/process_group.h"

namespace annuli::cli {

// Does `work` with the processes that were started together with this one (by
// `--processes`, torchrun, mpirun or srun), or alone.
//
// Of several the first one speaks: what another prints is dropped, its notices
// too, and its warnings and errors name its rank. A process that fails tells
// the others, which then end with its status. All have to come within `start`
// seconds, and then each waits for another up to `timeout` seconds. `advice`
// ends the line of one that has lost another.
void with_group(double start, double timeout, std::string_view advice,
                const std::function<void(parallel::ProcessGroup&)>& work);

}  // namespace annuli::cli
