#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "annuli/grow/recipe.h"

// Carries out one line of a recipe.
//
// Guarantees: the result is contiguous, in memory of its own (owned_memory.h),
// on the CPU, of the recipe's shape; it depends on recipe, parent, seed, dtype
// and router_mean alone, not on the number of threads. Values are rounded once
// from parent * scale (fp64 product) to `dtype`.
namespace annuli::grow {

// parents: the recipe's tensor of each of its `models`, in their order, any
// floating dtype, any device; not looked at unless the source is kParent. (One
// tensor converts to a list.) dtype: what the child is stored in, bf16 and half
// included. router_mean: [D], the layer's mean router input; undefined leaves
// the rows of a random router as drawn.
at::Tensor apply(const TensorRecipe& recipe, at::TensorList parents,
                 uint64_t seed, at::ScalarType dtype,
                 const at::Tensor& router_mean = {});

// The recipe's slices with a scale of the caller's and no noise: how moments
// and gradients follow. Source must be kParent.
at::Tensor tile(const TensorRecipe& recipe, const at::Tensor& parent,
                double scale, at::ScalarType dtype);

}  // namespace annuli::grow
