#pragma once

#include <vector>

#include "annuli/grow/recipe.h"
#include "annuli/model/transformer.h"
#include "annuli/parallel/solo.h"
#include "annuli/verify/sketch.h"
#include "annuli/verify/verdict.h"

// Every child tensor accounted for, none uninitialised, none left over.
//
// Verdicts: the accounts (rows without a recipe, parents without a use,
// undefined or not finite tensors: a count that must be 0); the distance of
// every copied tensor from its parent's sketch, by what the axes demand and not
// by the scale the recipe states, once for those that storage keeps exactly and
// once for those that it rounds; and what was made (zeros are zero, a random
// router is of its deviation and orthogonal to the mean activation, entries
// that no parent has are zero where the function needs it, noise on weights and
// layers that are random are the seed's).
//
// Shards of a layer that was widened first are judged by their sum (UnitSums),
// under the name of the last shard of the copy.
//
// The child's tensors may be of any stored type, each of its own, and are read
// once, in the order of the table.
namespace annuli::verify {

// `parents`: the sketches of every parent's table, in the order of the recipe.
// `router_mean`: per layer, the mean input, or the centroids that routers are
// made of; empty if not known.
//
// Of several processes each measures the tensors that it owns
// (model/row_owners.h); where shards are judged by their sum, all measure all.
std::vector<Verdict> tensor_audit(
    const std::vector<std::vector<Sketch>>& parents, const grow::Recipe& recipe,
    const Transformer& child, const std::vector<at::Tensor>& router_mean,
    parallel::ProcessGroup& group = parallel::solo());

// The largest entry_roundoff of all copied tensors: what storing the child has
// changed in its weights, relative. 0: nothing.
double storage_roundoff(const std::vector<Sketch>& parent,
                        const grow::Recipe& recipe, const Transformer& child);

}  // namespace annuli::verify
