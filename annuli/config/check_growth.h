#pragma once

#include "annuli/config/grown_shape.h"
#include "annuli/config/plan.h"
#include "annuli/core/error.h"

namespace annuli {

// Follows the model's shape from phase to phase: what the first phase starts
// from, and what each operator can be applied to.
void check_growth(const Complain& complain, const Plan& plan);

}  // namespace annuli
