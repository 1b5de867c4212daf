#pragma once

#include <cstdint>

#include "annuli/config/phase_plan.h"
#include "annuli/grow/recipe.h"
#include "annuli/model/number_types.h"

namespace annuli::grow {

// From now on the recipe makes a child that holds the matrices of its layers as
// codes of 8 bits (model/coded_weights.h), of a parent that does: noise is made
// in whole codes, what is new and drawn is rounded to codes.
//
// Throws UserError, before anything is made, if a copied tensor would not be
// what the recipe says to the last bit: where a factor is no power of two,
// where a block would hold entries of several blocks of the parent, which may
// have different scales, where models are averaged, and where entries of a
// copied tensor are drawn anew or changed other than by cancelling noise.
void hold_as_codes(Recipe& recipe);

// What a phase grows by, of a parent that holds its weights in such numbers.
Recipe recipe_of(const GrowPlan& plan, const ModelConfig& parent, uint64_t seed,
                 const NumberTypes& numbers);

}  // namespace annuli::grow
