#pragma once

#include "annuli/config/grown_shape.h"
#include "annuli/config/plan.h"

namespace annuli {

// The run's schedule, and what phases say beside it; one measure of each
// phase's length.
void check_schedule(const Complain& complain, const Plan& plan);

// What the run may spend, and the phases' shares of it.
void check_budget(const Complain& complain, const Plan& plan);

}  // namespace annuli
