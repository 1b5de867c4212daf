#pragma once

#include <ATen/core/Tensor.h>

#include "annuli/data/loader.h"

// A batch as tensors on the model's device, each [B, T] int64.
namespace annuli::train {

at::Tensor tokens_of(const data::Batch& batch, at::Device device);
at::Tensor targets_of(const data::Batch& batch, at::Device device);

}  // namespace annuli::train
