#pragma once

#include "annuli/grow/recipe.h"
#include "annuli/model/transformer.h"
#include "annuli/verify/sketch.h"

namespace annuli::verify {

// The recipe that makes a model of the child's shape out of one of the
// parent's, for two models without a lineage. Steps are looked for in this
// order, and several make a chain; none is the identity:
//   experts   0 -> E upcycle (shards, shared expert), E -> mE expand, several
//             parents merge
//   width     every axis by itself, untied, folded or by the multiplier
//   head      untied without another width
//   depth     each child layer mapped to the parent layer that it is nearest
//             to; random, where as many as were added are near none
// The noise of widening and a router's deviation are not known (none and 0 in
// the recipe); verification needs neither. Of random layers the matrices are
// not judged, and of units drawn anew (drop_ratio) and noise on weights
// (perturb, shrink_perturb) nothing is recognised: they follow from a seed that
// nobody tells. Throws UserError saying what differs if it is none of these.
grow::Recipe infer_recipe(const ModelConfig& parent,
                          const std::vector<Sketch>& parent_sketches,
                          const Transformer& child, int64_t parents = 1);

}  // namespace annuli::verify
