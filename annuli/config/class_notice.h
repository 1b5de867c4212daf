#pragma once

#include <string>
#include <vector>

#include "annuli/config/model_config.h"
#include "annuli/config/phase_plan.h"
#include "annuli/config/plan.h"

// Whether transformers can hold what a growth makes.
namespace annuli {

// Where transformers has a class for the parent and none for the child: one
// line that says so, for what, and which option gives a child that has a class,
// if one does. "" otherwise. The growth must be one that `grown_shape` accepts.
std::string class_notice(const ModelConfig& parent, const GrowPlan& growth);

// The same of a plan that starts from a model on disk, phase by phase: one line
// for each growth whose child has lost its class. Of a .pt file, which only the
// run opens, nothing. The plan must be one that `check` accepts.
std::vector<std::string> class_notices(const Plan& plan);

}  // namespace annuli
