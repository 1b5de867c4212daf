#pragma once

#include <string>

#include "tests/faults/script.h"

// What must hold after a fault. Each function says in one line what does not,
// or "" if all is well.
namespace annuli::faults {

// The program ended as it may under a fault: with status 0, 1 or 2, and if not
// 0 with one line that begins with its name; `killed` allows SIGKILL too.
std::string bad_ending(const Outcome& outcome, bool killed = false);

// Status 0, whatever was printed.
std::string not_done(const std::string& doing, const Outcome& outcome);

// Files that were to be temporary: a name with ".tmp" anywhere below the
// folder, or anything in its "tmp".
std::string leftovers(const fs::path& folder);

// The same names with the same bytes.
std::string folder_difference(const fs::path& folder,
                              const fs::path& reference);

// Runs of a plan: the history but for times, rates and memory, and the models
// of the lineage.
std::string run_difference(const fs::path& run, const fs::path& reference);

// The same checkpoints, byte for byte.
std::string checkpoint_difference(const fs::path& run,
                                  const fs::path& reference);

// All of this for runs that may differ in digits: as many lines with the same
// members, whose fractions differ by at most 1 %, or 0.01 if they are below 1;
// the same checkpoints by name and size. Which expert got a token does not
// count.
std::string run_unlikeness(const fs::path& run, const fs::path& reference);

}  // namespace annuli::faults
