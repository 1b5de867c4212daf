#pragma once

#include <string>
#include <vector>

#include "annuli/core/rng.h"
#include "tests/faults/scenario.h"
#include "tests/faults/tally.h"

// The ways in which a start of a scenario is spoilt. Each function carries out
// one case: faulty starts, a look at how they ended, and a start without a
// fault, after which all must be as if nothing had been.
namespace annuli::faults {

// SIGKILL before, in or after a random call; now and then a second time in the
// start after it.
Result kill_at_random(const Scenario& scenario, Script& script,
                      const CounterRng& rng);

// Calls that fail; `action` is one of fault.h.
struct Failure {
  std::string kind;
  std::string calls;
  std::string action;
};
const std::vector<Failure>& failures();
Result fail_at_random(const Scenario& scenario, Script& script,
                      const Failure& failure, const CounterRng& rng);

// No file may grow beyond a random size.
Result limit_files(const Scenario& scenario, Script& script,
                   const CounterRng& rng);

// Standard output is a full device.
Result fill_output(const Scenario& scenario, Script& script,
                   const CounterRng& rng);

// The wall clock jumps in every start, the first is killed.
Result jump_clock(const Scenario& scenario, Script& script,
                  const CounterRng& rng);

// The address space is bounded, between `least` and thrice that. Digits may
// differ then (docs/reliability.md).
Result limit_memory(const Scenario& scenario, Script& script, uint64_t least,
                    const CounterRng& rng);

// The least bound under which the program can say its version.
uint64_t least_memory(const fs::path& root);

// The run's folder is moved away at a random call; whatever then stands in its
// place is gone on with too, or refused.
Result vanish_at_random(const Training& training, Script& script,
                        const CounterRng& rng);

}  // namespace annuli::faults
