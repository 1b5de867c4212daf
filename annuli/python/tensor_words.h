#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "annuli/checkpoint/tensor_entry.h"
#include "annuli/core/json.h"

// Tensors of another program, in words: {name, dtype, shape, strides, data}.
namespace annuli::python {

// A view of that memory, which somebody else owns.
at::Tensor tensor_from(const Json& words);
std::vector<NamedTensor> tensors_from(const Json& list);

// Only name, dtype and shape: no memory.
std::vector<NamedTensor> shapes_from(const Json& list);

}  // namespace annuli::python
