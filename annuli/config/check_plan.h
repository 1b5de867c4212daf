#pragma once

#include <functional>
#include <string>

#include "annuli/config/plan.h"

namespace annuli {

// Where a key stands: "reading plans/seed.yaml:12".
using Locate = std::function<std::string(const std::string& key)>;

// Throws UserError "LOCATE(key): key: ..." for fields that contradict each
// other.
void check_plan(const Plan& plan, const Locate& locate);

}  // namespace annuli
