#pragma once

#include "annuli/core/file.h"
#include "annuli/core/json.h"

namespace annuli::bench {

// The training steps of a finished run against their speed of light, phase by
// phase: a table on standard output, and the same as JSON.
//
// Light of a step is its matrix products (speed_of_light.h), replayed with the
// experts' rows of the phase's first, middle and last step, the best of the
// three, and what AdamW must move at the bandwidth measured here. The table of
// an untied input embedding is not counted: of its rows a step needs few.
// Seconds of the run are the history's, all steps of a phase.
//
// UserError for a run with another optimizer or precision than AdamW in fp32.
Json judge_phases(const fs::path& run_folder);

}  // namespace annuli::bench
