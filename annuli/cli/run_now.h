#pragma once

#include <filesystem>

#include "annuli/config/plan.h"
#include "annuli/core/json.h"

// Where a run is at this moment, by its folder, which is only read.
namespace annuli::cli {

// {"process": who runs it on this machine, or null, "quiet_seconds": since its
// history last grew, "phase", "step", "max_steps", "loss", "step_seconds": mean
// of the last steps, "seconds_left": of the phase}. Null before the first step.
Json describe_now(const std::filesystem::path& folder, const Plan& plan);

void print_now(const Json& now);

}  // namespace annuli::cli
