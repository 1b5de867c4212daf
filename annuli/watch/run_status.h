#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "annuli/core/json.h"
#include "annuli/report/run_data.h"

// How a run stands, in a few words that the title of its page has.
namespace annuli::watch {

// What the words follow from.
struct RunFacts {
  bool finished = false;            // there is a summary.json
  std::vector<std::string> failed;  // "check (phase)", each once
  std::optional<int64_t> spike;     // the step
  double quiet_seconds = 0;         // since the history last changed
  double longest_step = 0;          // seconds, of the last kRecentSteps
  double longest_growth = 0;        // seconds, proofs among them
  bool between_phases = false;      // a phase's last step is done
  std::string trouble;              // why a file can't be read: one line
};

constexpr size_t kRecentSteps = 100;

// A spike is a step of the last kRecentSteps that the run's loss watch has
// marked (`loss_rise`); of several, the last.
RunFacts facts_of(const report::Run& run, const Json& files);

// How long a run may be silent before it counts as stalled: a minute or 30
// times its longest recent step; between phases, where it evaluates, saves,
// grows and proves, ten minutes, the same, or three times its longest growth.
double patience_of(const RunFacts& facts);

// {"words", "alert", "ended", "trouble"}: what is wrong, then whether it has
// ended or stalled, joined by commas; "" for a run that goes on and has nothing
// wrong.
Json status_of(const RunFacts& facts);

}  // namespace annuli::watch
