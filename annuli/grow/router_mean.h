#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "annuli/checkpoint/model_file.h"

namespace annuli::grow {

// Per layer, the directions that a random router's rows are made orthogonal to,
// [1 + R, D] orthonormal fp64, from what the feed-forward reads over `tokens`
// [B, T]: its mean, and the R <= 4 directions along which it varies most about
// the mean. One layer of the model is in memory at a time.
//
// A mean alone does not do for a model that was trained little: one direction
// about it can hold 0.9 of the variance, every token's choice follows from that
// one number, and experts in the middle get none (docs/log.md).
std::vector<at::Tensor> router_directions(const ModelFile& model,
                                          const at::Tensor& tokens);

}  // namespace annuli::grow
