#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "annuli/grow/recipe.h"

namespace annuli::grow {

// Which of `size` units are drawn anew, ascending: round(ratio * size) of them.
// Follows from seed and drop.stream alone, so that gate, up and down of an
// expert drop the same ones.
std::vector<int64_t> dropped_units(const Drop& drop, int64_t size,
                                   uint64_t seed);

// Draws them anew in `child` (CPU, contiguous, vector or matrix): normal, with
// the mean and deviation over all that stood in them. `stream`: of the numbers.
void drop_units(at::Tensor& child, const Drop& drop, uint64_t seed,
                uint64_t stream);

}  // namespace annuli::grow
