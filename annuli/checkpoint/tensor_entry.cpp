#include "annuli/checkpoint/tensor_entry.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "annuli/core/error.h"

namespace annuli {
namespace {

struct ElementType {
  at::ScalarType dtype;
  const char* name;
  const char* storage;
};

constexpr std::array<ElementType, 8> kElementTypes = {{
    {at::kDouble, "F64", "DoubleStorage"},
    {at::kFloat, "F32", "FloatStorage"},
    {at::kHalf, "F16", "HalfStorage"},
    {at::kBFloat16, "BF16", "BFloat16Storage"},
    {at::kLong, "I64", "LongStorage"},
    {at::kInt, "I32", "IntStorage"},
    {at::kByte, "U8", "ByteStorage"},
    {at::kBool, "BOOL", "BoolStorage"},
}};

constexpr size_t kMaxDimensions = 64;

}  // namespace

TensorEntry entry_of(const NamedTensor& tensor) {
  ANNULI_CHECK(tensor.tensor.defined(), "{} has no tensor", tensor.name);
  TensorEntry entry;
  entry.name = tensor.name;
  entry.dtype = tensor.tensor.scalar_type();
  entry.shape = tensor.tensor.sizes().vec();
  entry.bytes = byte_size(entry.shape, entry.dtype).value();
  return entry;
}

const char* dtype_name(at::ScalarType dtype) {
  const auto* type =
      std::ranges::find(kElementTypes, dtype, &ElementType::dtype);
  ANNULI_CHECK(type != kElementTypes.end(), "element type {} has no name",
               c10::toString(dtype));
  return type->name;
}

std::optional<at::ScalarType> dtype_from_name(std::string_view name) {
  for (const ElementType& type : kElementTypes) {
    if (name == type.name) return type.dtype;
  }
  return std::nullopt;
}

std::optional<at::ScalarType> dtype_from_storage(std::string_view storage) {
  for (const ElementType& type : kElementTypes) {
    if (storage == type.storage) return type.dtype;
  }
  return std::nullopt;
}

std::optional<int64_t> byte_size(std::span<const int64_t> shape,
                                 at::ScalarType dtype) {
  if (shape.size() > kMaxDimensions) return std::nullopt;
  auto bytes = static_cast<int64_t>(c10::elementSize(dtype));
  bool empty = false;
  for (const int64_t size : shape) {
    if (size < 0) return std::nullopt;
    empty = empty || size == 0;
    const int64_t factor = std::max<int64_t>(size, 1);
    if (__builtin_mul_overflow(bytes, factor, &bytes)) return std::nullopt;
  }
  return empty ? 0 : bytes;
}

std::string to_string(std::span<const int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

Json to_json(std::span<const TensorEntry> entries) {
  Json all = Json::array();
  for (const TensorEntry& entry : entries) {
    all.push_back({{"name", entry.name},
                   {"dtype", dtype_name(entry.dtype)},
                   {"shape", entry.shape},
                   {"bytes", entry.bytes}});
  }
  return all;
}

int64_t total_bytes(std::span<const TensorEntry> entries) {
  int64_t bytes = 0;
  for (const TensorEntry& entry : entries) bytes += entry.bytes;
  return bytes;
}

}  // namespace annuli
