#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "annuli/checkpoint/model_file.h"

namespace annuli::grow {

// Per layer, the mean over `tokens` [B, T] of what the feed-forward reads, [D]:
// the direction that a random router's rows are made orthogonal to. One layer
// of the model is in memory at a time.
std::vector<at::Tensor> feed_forward_means(const ModelFile& model,
                                           const at::Tensor& tokens);

}  // namespace annuli::grow
