#pragma once

#include <ATen/core/Tensor.h>

namespace annuli::kernels {

// Sum of the squares of a tensor's entries, in fp64; 0 for an undefined tensor.
// One pass over fp32, bf16 or fp64 on CPU, the same bits for any number of
// threads; the reference elsewhere.
double squared_norm(const at::Tensor& tensor);

namespace reference {
double squared_norm(const at::Tensor& tensor);
}

}  // namespace annuli::kernels
