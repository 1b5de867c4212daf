#pragma once

#include "annuli/core/rng.h"
#include "tests/faults/scenario.h"
#include "tests/faults/tally.h"

// Files that change after they were written.
namespace annuli::faults {

enum class Damage { kCut, kFlip };

// Cuts a file at a random place, or flips bits of a random byte. The command
// that does it again is noted.
void damage_file(const fs::path& file, Damage damage, const CounterRng& rng,
                 Script& script);

// A run, finished or killed on its way; damage to one of its files; then the
// next start. That must refuse (status 2), or end with the reference's history,
// lineage and checkpoints. What a finished run's start and `annuli inspect`
// show must be what they showed before, or be refused too; and of a damaged
// checkpoint, which may stay as it is, `inspect` must say so.
Result damage_run(const Training& training, Script& script, Damage damage,
                  const CounterRng& rng);

}  // namespace annuli::faults
