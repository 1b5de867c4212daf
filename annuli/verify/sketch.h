#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "annuli/grow/recipe.h"
#include "annuli/model/tensor_table.h"

// A parent tensor's fingerprint that outlives it: what the tensor computes on
// one fixed random input.
//
// A matrix W [P, C] is kept as s = W r [P] in fp64, with r ~ N(0, 1) over its
// contracted dimension, drawn from the tensor's name. A gain or bias is kept
// whole. The child's matrix, applied to r laid out by the recipe's slices (0
// where an entry is new), must give s laid out by the recipe's slices: whatever
// was copied, scaled or noised, a function that is preserved is preserved on r.
// Changing any entry by d changes one entry of s by d * r_c.
//
// Matrices are read once, in the order in which they are stored, some megabytes
// of rows at a time.
namespace annuli::verify {

struct Sketch {
  std::string name;
  at::Tensor value;                   // fp64, one entry per produced entry
  at::ScalarType dtype = at::kFloat;  // of the tensor itself
};

Sketch sketch_of(const TensorSpec& spec, const at::Tensor& tensor);

// How far the child's tensor is from what the parent's sketch demands:
// max |s_child - factor * s| / rms(factor * s); for a gain or bias, whose
// entries are few and may be of very different sizes, the largest
// |child - factor * parent| / |factor * parent|. New entries count where
// `new_produced_is_zero` (they must give 0). NaN or inf in the child gives NaN
// or inf.
double sketch_distance(const Sketch& parent, const TensorSpec& parent_spec,
                       const grow::TensorRecipe& recipe,
                       const TensorSpec& child_spec, const at::Tensor& child,
                       double factor, bool new_produced_is_zero = true);

}  // namespace annuli::verify
