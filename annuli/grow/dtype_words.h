#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string_view>

// Words for the types that models are stored in.
namespace annuli::grow {

// config.json's: "float32", "bfloat16" ...
const char* torch_dtype(at::ScalarType dtype);

// A flag's: "f32", "f64", "bf16", "f16".
std::optional<at::ScalarType> dtype_from_flag(std::string_view word);

}  // namespace annuli::grow
