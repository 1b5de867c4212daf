#pragma once

#include <optional>
#include <string>

#include "annuli/checkpoint/lineage.h"
#include "annuli/grow/recipe.h"

namespace annuli::cli {

// The recipe that a growth's record states, made again from operator, arguments
// and seed. UserError, naming `where`, if the arguments are not the operator's.
grow::Recipe recipe_of(const LineageRecord& record, const ModelConfig& parent,
                       const std::string& where);

// True for a record of a growth operator; not "initialize" and "train".
bool is_growth(const LineageRecord& record);

}  // namespace annuli::cli
