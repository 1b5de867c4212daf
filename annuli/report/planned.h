#pragma once

#include <map>
#include <string>
#include <vector>

#include "annuli/config/plan.h"
#include "annuli/report/run_history.h"

// What the plan of a run said beforehand, for the page to show beside what was
// measured.
namespace annuli::report {

struct PlannedPhase {
  Json shape;  // {"layers", "hidden_size", "heads", ...}
  int64_t total_parameters = 0;
  int64_t active_parameters = 0;
  int64_t peak_bytes = 0;
  double step_flops = 0;
};

struct PlannedRun {
  std::map<std::string, PlannedPhase> phases;
  std::string missing;  // why there are none: one line, or empty
};

// What stands in the plan need not be there any more (a tokenizer, a model to
// begin with); `missing` says so then.
PlannedRun planned_run(const Plan& plan);

// FLOPs up to each step's end: those that the plan counts for a step; where it
// can't be counted, 6 x active parameters x tokens, by what the history says of
// each phase; empty where neither is known of every phase. `is_estimate` is set
// for the second.
std::vector<double> flops_of(const RunHistory& history,
                             const PlannedRun& planned, bool& is_estimate);

}  // namespace annuli::report
