#pragma once

#include "annuli/config/phase_plan.h"
#include "annuli/core/json.h"

namespace annuli::python {

// What stands for a model in memory where a path would be in an error.
inline constexpr const char* kName = "in memory";

// The growth that an order names: operator, arguments, optimizer, dynamics;
// with the command line's defaults. UserError for what cannot be.
GrowPlan growth_of(const Json& order);

}  // namespace annuli::python
