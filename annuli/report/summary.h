#pragma once

#include <filesystem>
#include <string>

#include "annuli/config/plan.h"

// The table at the end of a run. Reads run records only, never a model.
namespace annuli::report {

// One block a phase: parameters, first and last loss, the jump at the boundary,
// tokens per second, peak memory, each beside the figure that the plan says was
// expected. Phases that the history does not hold are left out.
std::string summary_table(const Plan& plan,
                          const std::filesystem::path& history);

}  // namespace annuli::report
