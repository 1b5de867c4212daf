#pragma once

#include "annuli/grow/recipe.h"
#include "annuli/model/transformer.h"
#include "annuli/verify/sketch.h"

namespace annuli::verify {

// The recipe that makes a model of the child's shape out of one of the
// parent's, for two models without a lineage:
//   experts 0 -> E                      upcycle
//   width, heads and ffn times n        widen, untied or folded by the configs
//   more layers                         deepen, each child layer mapped to the
//                                       parent layer whose tensors it has
// The noise of widening and a router's deviation are not known (none and 0 in
// the recipe); verification needs neither. Throws UserError saying what differs
// if it is none of these.
grow::Recipe infer_recipe(const ModelConfig& parent,
                          const std::vector<Sketch>& parent_sketches,
                          const Transformer& child);

}  // namespace annuli::verify
