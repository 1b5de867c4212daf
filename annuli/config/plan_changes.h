#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "annuli/config/plan.h"
#include "annuli/core/json.h"

// What differs between the plan that a run began with and the one that it is to
// go on with, and what that means for it.
namespace annuli {

enum class ChangeEffect {
  kAhead,   // of a phase that has not begun: it runs as the new plan says
  kNow,     // of how the phase at hand is trained: it holds from here on
  kBehind,  // of what was done already: the new plan would have done otherwise
};

struct PlanChange {
  std::string key;     // "phases.large.train.max_steps"
  std::string before;  // JSON; "nothing" if it was not there
  std::string after;
  ChangeEffect effect = ChangeEffect::kBehind;
};

// `before` and `after` are `hashed_json` of the two. Fields that are not part
// of the hash do not count. `phase` is the one the run is in, its growth done;
// `phase_ended` tells whether its training is over too.
std::vector<PlanChange> plan_changes(const Json& before, const Json& after,
                                     size_t phase, bool phase_ended);

// "phases.large.train.max_steps 10 -> 20"
std::string to_text(const PlanChange& change);

}  // namespace annuli
