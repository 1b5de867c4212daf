#pragma once

#include <string>

#include "annuli/budget/plan_budget.h"
#include "annuli/core/json.h"

// A budget for people and for scripts.
namespace annuli::budget {

std::string to_table(const PlanBudget& budget);

// {"program_bytes", "phases": [{...}], "peak_memory_bytes", ...}; bytes, flops
// and seconds as plain numbers. See docs/formats.md.
Json to_json(const PlanBudget& budget);

}  // namespace annuli::budget
