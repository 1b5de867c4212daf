#pragma once

#include <functional>
#include <string>

#include "annuli/config/plan.h"
#include "annuli/core/error.h"

namespace annuli {

// Throws a UserError about a key.
using Complain =
    std::function<void(const std::string& key, const std::string& problem)>;

// Follows the model's shape from phase to phase: what the first phase starts
// from, and what each operator can be applied to.
void check_growth(const Complain& complain, const Plan& plan);

}  // namespace annuli
