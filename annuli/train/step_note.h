#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "annuli/train/step_sums.h"

namespace annuli::train {

// What each process tells the others of a step before any gradient is sent, so
// that all fail, stop or go on alike. As text it has the bits of its numbers,
// and a length that follows from the model's shape, unless it tells a failure.
struct StepNote {
  int64_t step = 0;
  std::string failure;      // why this process can't go on; empty: it can
  int64_t stop_signal = 0;  // that asks this process to stop
  StepSums sums;            // of its parts; the router means are not told
};

std::string as_text(const StepNote& note);
StepNote read_note(std::string_view text);

// Of a note without a failure, of a step that is not measured. A dense model
// has 0 experts.
int64_t note_bytes(int64_t layers, int64_t experts);

}  // namespace annuli::train
