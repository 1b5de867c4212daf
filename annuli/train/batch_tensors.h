#pragma once

#include <ATen/core/Tensor.h>

#include "annuli/data/loader.h"

// A batch as tensors, each [B, T] int64: on the model's device; the documents
// on the host, undefined if the batch does not say.
namespace annuli::train {

at::Tensor tokens_of(const data::Batch& batch, at::Device device);
at::Tensor targets_of(const data::Batch& batch, at::Device device);
at::Tensor documents_of(const data::Batch& batch);

}  // namespace annuli::train
