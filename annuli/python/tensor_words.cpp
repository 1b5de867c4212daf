#include "annuli/python/tensor_words.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <cstdint>

#include "annuli/core/error.h"

namespace annuli::python {
namespace {

at::ScalarType dtype_in(const Json& words) {
  const auto word = words.at("dtype").get<std::string>();
  const auto dtype = dtype_from_name(word);
  ANNULI_CHECK(dtype, "a tensor's type is {}", word);
  return *dtype;
}

}  // namespace

at::Tensor tensor_from(const Json& words) {
  const auto address = words.at("data").get<uintptr_t>();
  return at::from_blob(reinterpret_cast<void*>(address),
                       words.at("shape").get<std::vector<int64_t>>(),
                       words.at("strides").get<std::vector<int64_t>>(),
                       at::TensorOptions(dtype_in(words)));
}

std::vector<NamedTensor> tensors_from(const Json& list) {
  std::vector<NamedTensor> tensors;
  for (const Json& words : list) {
    tensors.push_back({words.at("name"), tensor_from(words)});
  }
  return tensors;
}

std::vector<NamedTensor> shapes_from(const Json& list) {
  std::vector<NamedTensor> tensors;
  for (const Json& words : list) {
    tensors.push_back(
        {words.at("name"),
         at::empty(words.at("shape").get<std::vector<int64_t>>(),
                   at::TensorOptions(at::kFloat).device(at::kMeta))});
  }
  return tensors;
}

}  // namespace annuli::python
