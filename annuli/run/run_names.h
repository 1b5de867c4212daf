#pragma once

#include <set>
#include <string>

#include "annuli/config/plan.h"
#include "annuli/core/file.h"
#include "annuli/core/input_paths.h"

// What a run reads and what it calls the files that it writes.
namespace annuli::run {

// The paths below the run's folder: the records, and what each phase leaves.
// The states, which the run numbers, are not among them.
std::set<std::string> names_of(const Plan& plan);

// The names in a folder that holds a run of an earlier version, without a
// manifest: those of the plan.yaml there, if the history beside it tells of its
// phases. Empty if that is not so.
std::set<std::string> names_of_earlier_run(const fs::path& folder);

// All that the plan names, and the file that it was read from. UserError if it
// names text that is not there.
InputPaths inputs_of(const Plan& plan, const fs::path& plan_file);

}  // namespace annuli::run
