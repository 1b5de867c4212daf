#pragma once

#include <vector>

#include "annuli/grow/recipe.h"
#include "annuli/model/transformer.h"
#include "annuli/verify/sketch.h"
#include "annuli/verify/verdict.h"

// Every child tensor accounted for, none uninitialised, none left over.
//
// Three verdicts: the accounts (rows without a recipe, parents without a use,
// undefined or not finite tensors: a count that must be 0); the distance of
// every copied tensor from its parent's sketch, by what the axes demand and not
// by the scale the recipe states; and the made tensors (zeros are zero, a
// random router is finite, of its deviation, orthogonal to the mean
// activation).
namespace annuli::verify {

std::vector<Verdict> tensor_audit(const std::vector<Sketch>& parent,
                                  const grow::Recipe& recipe,
                                  const Transformer& child,
                                  const std::vector<at::Tensor>& router_mean);

}  // namespace annuli::verify
