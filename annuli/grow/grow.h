#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "annuli/grow/recipe.h"
#include "annuli/model/transformer.h"

namespace annuli::grow {

// Carries out a recipe on a model in memory: the child, in the parent's dtype
// and on its device.
//
// The parent is consumed tensor by tensor: each is released with its last use,
// and moved instead of copied where the child's is the same, so that two whole
// models never exist at once. Every child tensor has storage of its own. After
// an exception the parent is incomplete and of no use.
//
// Where processes hold the parent in parts (model/weight_parts.h), all of them
// call this, and hold the child so: who owns a tensor of it makes it, and gets
// what it needs of the parent.
//
// Of a parent that holds codes, the recipe must make codes (coded_growth.h).
//
// router_mean: per layer of the parent [D], the mean router input that a random
// router's rows are made orthogonal to; empty: rows as drawn (refused if the
// recipe needs it).
Transformer grow(Transformer&& parent, const Recipe& recipe,
                 const std::vector<at::Tensor>& router_mean = {});

// The same with the recipe's number of parents, all of one shape, dtype and
// device.
Transformer grow(std::vector<Transformer>&& parents, const Recipe& recipe,
                 const std::vector<at::Tensor>& router_mean = {});

}  // namespace annuli::grow
