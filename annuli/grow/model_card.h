#pragma once

#include <string>

#include "annuli/checkpoint/lineage.h"
#include "annuli/checkpoint/model_file.h"
#include "annuli/grow/recipe.h"

namespace annuli::grow {

// The README.md of a grown model: from what, how, proved by what, how to load
// it. A pure function of its arguments, so that a replay writes the same.
std::string model_card(const LineageRecord& record, const Recipe& recipe,
                       const Json& config);

}  // namespace annuli::grow
