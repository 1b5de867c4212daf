#pragma once

#include <ATen/core/Tensor.h>

#include "annuli/grow/recipe.h"
#include "annuli/verify/demands.h"

// What a child holds that no parent does, each in units of its limit: at most 1
// is right, NaN is not.
namespace annuli::verify {

// A tensor of zeros.
double zero_fault(const at::Tensor& tensor);

// A random router. `mean`: the direction its rows are orthogonal to, or, of a
// router of centroids, those [rows, D]; undefined if not known. `equal_rows`:
// how many rows share one draw.
double router_fault(const grow::TensorRecipe& recipe, const at::Tensor& router,
                    const at::Tensor& mean, int64_t equal_rows);

// What the seed says a tensor of a random layer is: of the deviation that a new
// model's weights have.
double fresh_fault(const grow::TensorRecipe& recipe, const at::Tensor& drawn,
                   double initializer_range);

// Entries of a copied tensor that are new: zero where the function needs it,
// and where nothing was drawn for them.
double new_entries_fault(const Demands& demands, size_t row,
                         const grow::TensorRecipe& recipe,
                         const at::Tensor& tensor);

}  // namespace annuli::verify
