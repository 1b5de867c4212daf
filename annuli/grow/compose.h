#pragma once

#include "annuli/grow/recipe.h"

// Two growth steps as one.
//
// Guarantee: carrying out the composed recipe gives, byte for byte, what
// carrying out `first`, storing its child, and carrying out `then` on that
// gives, for weights and for AdamW's state. Each line is the list of its steps
// (TensorRecipe::steps), each rounded to what is stored; steps that change
// nothing are left out. Beside the steps a line states what they come to:
// slices, scale and copies of the parent's own tensor.
namespace annuli::grow {

// Both of one seed; then.parent is first.child. Throws UserError if `then`
// needs the mean activations of a model that is never made.
Recipe compose(const Recipe& first, const Recipe& then);

// Slices of slices: `then` picks from what `first` lays out.
std::vector<Slice> compose(const std::vector<Slice>& first,
                           const std::vector<Slice>& then);

}  // namespace annuli::grow
