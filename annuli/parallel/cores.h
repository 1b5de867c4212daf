#pragma once

#include <cstdint>
#include <vector>

#include "annuli/parallel/launch_environment.h"

// The cores that a process may use, and their division among the processes of a
// host.
namespace annuli::parallel {

// Their numbers, ascending: those that the system lets this process run on
// (taskset, a container's set, our own launcher).
std::vector<int> allowed_cores();

// For each of N processes equally many cores, of the first ones; none for any
// if there are fewer cores than processes.
std::vector<std::vector<int>> divided(const std::vector<int>& cores, int64_t n);

// How many threads a process uses that is told nothing else: as many as it has
// cores, which those of one host share unless our launcher has divided them
// already. At least 1, and equal for processes that may use equally many.
int64_t default_threads(const LaunchEnvironment& environment);

// The same, of this process. An environment that is wrong counts as none; it is
// refused where the processes join.
int64_t default_threads();

}  // namespace annuli::parallel
