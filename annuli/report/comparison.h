#pragma once

#include <array>
#include <vector>

#include "annuli/core/json.h"

// Several runs at equal cost.
namespace annuli::report {

// The smoothed loss after each step, and what had been spent by then.
struct Curve {
  std::vector<double> loss;
  std::array<std::vector<double>, 3> axes;  // tokens, FLOPs, seconds; or empty
};

// For each of the three, where every run has it: {"axis": "tokens", "at": the
// most that all runs have spent, "losses": [of each run there],
// "differences": [loss less that of the first run]}. The loss there lies on the
// line between the steps around it. Empty for a single run.
Json compare(const std::vector<Curve>& curves);

}  // namespace annuli::report
