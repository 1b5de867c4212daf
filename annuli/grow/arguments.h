#pragma once

#include <string>
#include <vector>

#include "annuli/config/phase_plan.h"
#include "annuli/core/json.h"
#include "annuli/grow/recipe.h"

// Operators and their arguments as JSON. A recipe, a lineage, a plan and a
// chain's file state a growth in the same words, those of plan_fields.h, and
// are read by the same code.
namespace annuli::grow {

// What Recipe::arguments holds: every option of the one operator that is set;
// of a chain the list of its steps, each {"widen": {...}}.
Json arguments_of(const GrowPlan& plan);

// The inverse. Throws UserError naming the argument that cannot be.
GrowPlan plan_of(const std::string& op, const Json& arguments);

// What is stated of longer sequences, in its order.
std::vector<ExtendPlan> extensions_of(const std::string& op,
                                      const Json& arguments);

// Shards that each copy of a dense feed-forward was cut in by this growth; 1 if
// in none, or if it is no operator's. (A dense model is upcycled once at most,
// wherever in a chain.)
int64_t expert_shards_of(const std::string& op, const Json& arguments);

// The operators of a chain's file: YAML, a list of {operator: {options}}, or a
// map of `chain` alone to one. A router of the first step that the file does
// not name begins as `first_router`; later ones as plans have it.
GrowPlan read_chain(const std::string& yaml, const std::string& source,
                    RouterInit first_router = RouterInit::kRandom);

// The recipe that a record of a growth states, made again. UserError, naming
// `where`, if the arguments are not the operator's.
Recipe recipe_of(const std::string& op, const Json& arguments,
                 const ModelConfig& parent, uint64_t seed,
                 const std::string& where);

}  // namespace annuli::grow
