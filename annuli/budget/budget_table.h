#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "annuli/budget/plan_budget.h"
#include "annuli/core/json.h"

// A budget for people and for scripts.
namespace annuli::budget {

// `limit`: of a process' memory; what fits it is said of all_shards.
std::string to_table(const PlanBudget& budget,
                     std::optional<int64_t> limit = {});

// {"program_bytes", "phases": [{...}], "peak_memory_bytes", ...}; bytes, flops
// and seconds as plain numbers. See docs/formats.md.
Json to_json(const PlanBudget& budget, std::optional<int64_t> limit = {});

}  // namespace annuli::budget
