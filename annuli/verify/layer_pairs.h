#pragma once

#include <cstdint>
#include <vector>

#include "annuli/grow/recipe.h"

namespace annuli::verify {

// A child layer and the parent layer whose residual stream it must reproduce.
struct LayerPair {
  int64_t child;
  int64_t parent;
};

// The parent's own layers in the child, in order; after a growth that is not
// exact only those before the first new layer, since what follows reads a
// changed stream.
std::vector<LayerPair> comparable_layers(const grow::Recipe& recipe);

// Dense feed-forward -> mixture.
bool is_upcycle(const grow::Recipe& recipe);

}  // namespace annuli::verify
