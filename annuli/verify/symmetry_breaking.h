#pragma once

#include <nlohmann/json.hpp>

#include "annuli/grow/recipe.h"
#include "annuli/model/transformer.h"
#include "annuli/verify/probe.h"

namespace annuli::verify {

// What the same growth without noise measures: the reading of a model whose
// copies can never part. It shows that the check can fail.
struct SymmetryControl {
  double gradient_difference = 0;  // largest over the grown matrices
};

// Grows a second, noise-free child from the parent (whose tensors are shared,
// not consumed), runs one backward pass and lets it go again.
SymmetryControl symmetry_control(const Transformer& parent,
                                 const grow::Recipe& recipe,
                                 const Probe& probe);

}  // namespace annuli::verify
