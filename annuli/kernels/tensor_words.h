#pragma once

#include <ATen/core/Tensor.h>

#include <string>

// What a failed check says of a tensor: "Float [2, 3] on cpu", with "strided"
// before it where it is not contiguous; "no tensor" where it is not defined.
namespace annuli::kernels {

std::string words_of(const at::Tensor& tensor);

}  // namespace annuli::kernels
