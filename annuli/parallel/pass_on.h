#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "annuli/parallel/process_group.h"

namespace annuli::parallel {

// Bytes of process `from` on process `to`, another one; undefined on all
// others. All processes call it; `bytes`, of one dimension, is looked at on
// `from` alone.
at::Tensor pass_on(ProcessGroup& group, const at::Tensor& bytes, int64_t from,
                   int64_t to);

}  // namespace annuli::parallel
