#pragma once

#include <string>
#include <vector>

#include "annuli/config/plan.h"

namespace annuli::train {

// The learning rate of each phase, for people: "rises to 3.0e-03 by step 41,
// holds at 3.0e-03 to step 320, falls to 0.0e+00 by step 400".
std::vector<std::string> schedule_text(const Plan& plan);

}  // namespace annuli::train
