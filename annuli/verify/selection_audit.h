#pragma once

#include <ATen/core/Tensor.h>

#include <optional>

#include "annuli/grow/recipe.h"

// What growth demands of the selection biases of a layer, whatever the recipe
// states about them: from the numbers of experts and from the experts' axis.
//
// Each of a mixture's E experts has m copies in the child, of equal logits, and
// probabilities that are m times smaller. A growth that keeps the function
// chooses c = k' / k copies where the parent chose one. So of each expert's
// copies c must have the parent's bias over m, and the others, which no token
// may choose, must lie below the least of those by more than 1 / m, the most
// that a copy's probability can be right after growth. Which of the copies are
// the open ones the values themselves tell. A growth that is not exact leaves
// all open.
//
// How far the closed ones lie below is the recipe's to say: beside that demand
// they must be what it makes of the parent's. Experts that are copies of one
// dense layer keep the function whichever are chosen; there all biases must be
// what the recipe says.
namespace annuli::verify {

struct SelectionFinding {
  // Largest |found - expected| / |expected|: of open ones against the parent's,
  // of closed ones against the recipe's.
  double distance = 0;
  // How far the closed ones are above where they must be, in units of the
  // limit: at most 1 is right. Absent where none is closed.
  std::optional<double> closed;
};

// parent: [E] fp64, undefined: zeros. child: [m E].
SelectionFinding selection_finding(const grow::Recipe& recipe,
                                   const grow::TensorRecipe& line,
                                   const at::Tensor& parent,
                                   const at::Tensor& child);

// The copies of each of the parent's experts, m; 1 for a dense parent.
int64_t copies_of_experts(const grow::Recipe& recipe);
// Those that are open, c.
int64_t open_copies(const grow::Recipe& recipe);

}  // namespace annuli::verify
