#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "annuli/core/json.h"

// What a file says about a tensor, and the element types that our formats
// share: F64, F32, F16, BF16, I64, I32, U8, BOOL.
namespace annuli {

struct NamedTensor {
  std::string name;
  at::Tensor tensor;
};

struct TensorEntry {
  std::string name;
  at::ScalarType dtype = at::kFloat;
  std::vector<int64_t> shape{};     // {} is a scalar; a size of 0 is legal
  int64_t offset = -1;              // of the first byte, from the file's start
  int64_t bytes = 0;                // numel * element size
  std::optional<uint32_t> crc32{};  // of the bytes, if the file has it
};

// The entry that describes a tensor in memory; no offset yet.
TensorEntry entry_of(const NamedTensor& tensor);

// safetensors' word for an element type ("F32"). An unsupported one is a
// CheckFailure: our own tensors are of the types above.
const char* dtype_name(at::ScalarType dtype);
std::optional<at::ScalarType> dtype_from_name(std::string_view name);

// The element type of PyTorch's storage class ("FloatStorage").
std::optional<at::ScalarType> dtype_from_storage(std::string_view storage);

// Bytes of a contiguous tensor. Nothing for a negative size, more than 64
// dimensions, or a product that leaves 63 bits; sizes of 0 count as 1 there,
// because strides are made of the other sizes too.
std::optional<int64_t> byte_size(std::span<const int64_t> shape,
                                 at::ScalarType dtype);

// "[2, 3]"
std::string to_string(std::span<const int64_t> shape);

// Name, dtype, shape and bytes of each.
Json to_json(std::span<const TensorEntry> entries);
int64_t total_bytes(std::span<const TensorEntry> entries);

}  // namespace annuli
