#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

// What fingerprints are made of: products of stored tensors with fixed random
// vectors, in fp64, some megabytes of rows at a time.
namespace annuli::verify {

// N(0, 1), drawn from `name`: [size] fp64.
at::Tensor random_input(const std::string& name, int64_t size);

at::Tensor in_double(const at::Tensor& tensor);

// W r, or W^T r where dimension 0 is the contracted one; r: [C] or [C, n].
at::Tensor product(const at::Tensor& tensor, int64_t contracted,
                   const at::Tensor& r);

// max |difference| / rms(expected). NaN and inf stay.
double against_rms(const at::Tensor& difference, const at::Tensor& expected);

}  // namespace annuli::verify
