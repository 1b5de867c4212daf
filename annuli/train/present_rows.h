#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <vector>

#include "annuli/parallel/process_group.h"

namespace annuli::train {

// [process][row]: which process has a gradient of which row. What is absent on
// one is not sent as a zero: absent + x is x.
using PresentRows = std::vector<std::vector<bool>>;

// Of these rows of all `gradients`; all processes call it.
PresentRows present_rows(const std::vector<size_t>& rows,
                         const std::vector<at::Tensor>& gradients,
                         parallel::ProcessGroup& group);

}  // namespace annuli::train
