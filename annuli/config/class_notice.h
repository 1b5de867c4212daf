#pragma once

#include <string>

#include "annuli/config/model_config.h"
#include "annuli/config/phase_plan.h"

// Whether transformers can hold what a growth makes.
namespace annuli {

// Where transformers has a class for the parent and none for the child: one
// line that says so, for what, and which option gives a child that has a class,
// if one does. "" otherwise. The growth must be one that `grown_shape` accepts.
std::string class_notice(const ModelConfig& parent, const GrowPlan& growth);

}  // namespace annuli
