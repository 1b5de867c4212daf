#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "annuli/config/plan.h"
#include "annuli/core/json.h"

// Phases that their `until` ended before their last step.
namespace annuli::run {

struct EarlyEnd {
  size_t phase = 0;  // index into the plan's phases
  int64_t steps = 0;
};

// The plan with the steps that its phases have after such ends
// (budget/phase_steps.h).
Plan with_early_ends(Plan plan, const std::vector<EarlyEnd>& ends);

Json to_json(const std::vector<EarlyEnd>& ends);
std::vector<EarlyEnd> early_ends_from(const Json& json);

}  // namespace annuli::run
