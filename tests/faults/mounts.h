#pragma once

#include <string>

#include "annuli/core/rng.h"
#include "tests/faults/scenario.h"
#include "tests/faults/tally.h"

// Real file systems: one that is full, one that is read-only.
namespace annuli::faults {

// Gives the process mounts of its own, which end with it; before it has other
// threads. "" or why that is not permitted here.
std::string enter_own_mounts();

// The case's folder is a file system too small for the start, which then gets
// more room.
Result fill_small_disk(const Scenario& scenario, Script& script,
                       const CounterRng& rng);

// The case's folder is read-only after a start that was killed.
Result mount_read_only(const Scenario& scenario, Script& script,
                       const CounterRng& rng);

}  // namespace annuli::faults
