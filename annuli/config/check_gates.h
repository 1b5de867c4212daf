#pragma once

#include "annuli/config/plan.h"

namespace annuli {

// Refuses a plan that would train a router which no loss but the balance loss
// moves (constant_gates.h): one that the plan's model begins with, or that a
// growth step makes. Not where router_health is allowed to fail, and not what
// `model.from` brings along. For plans that `check` has passed; asked before
// anything is trained, once `allow` is complete.
void check_gates(const Plan& plan);

}  // namespace annuli
