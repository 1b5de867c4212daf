#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "annuli/grow/recipe.h"

namespace annuli::verify {

// Which entries of a child's dimension were drawn anew by Drop-Upcycling, or
// are copies of such ones made by a later step of a chain: fp64, 1 where they
// are. Undefined if none of the recipe's steps draws in that dimension.
at::Tensor drawn_anew(const grow::TensorRecipe& recipe, int64_t dimension,
                      uint64_t seed);

}  // namespace annuli::verify
