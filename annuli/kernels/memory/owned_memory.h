#pragma once

#include <ATen/core/Tensor.h>

// Memory for what lives long: weights and moments. On CPU each large tensor is
// a mapping of its own, so that dropping the tensor gives the pages back to the
// system at once, whatever the heap looks like; on other devices it is an
// ordinary tensor.
namespace annuli::kernels {

// Uninitialised (zero on CPU) storage of its own.
at::Tensor owned_empty(at::IntArrayRef shape, at::ScalarType dtype,
                       at::Device device = at::kCPU);
at::Tensor owned_zeros(at::IntArrayRef shape, at::ScalarType dtype,
                       at::Device device = at::kCPU);
// A copy of `source` in owned memory.
at::Tensor owned_copy(const at::Tensor& source);

}  // namespace annuli::kernels
