#include "annuli/checkpoint/coded_tensors.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/kernels/memory/owned_memory.h"

namespace annuli {
namespace {

constexpr std::string_view kExponents = ".exponents";

std::string exponents_of(const std::string& name) {
  return name + std::string(kExponents);
}

// Undefined if there is none.
at::Tensor taken(const std::string& name, std::vector<NamedTensor>& weights) {
  const auto found = std::ranges::find(weights, name, &NamedTensor::name);
  return found == weights.end() ? at::Tensor()
                                : std::exchange(found->tensor, {});
}

bool is_codes(const at::Tensor& tensor) {
  return tensor.defined() && tensor.scalar_type() == at::kByte;
}

kernels::CodedMatrix matrix_of(const std::string& name, const at::Tensor& codes,
                               std::vector<NamedTensor>& weights) {
  const at::Tensor exponents = taken(exponents_of(name), weights);
  ANNULI_CHECK(exponents.defined(), "codes of {} without exponents", name);
  return {codes.view(at::kChar), exponents.view(at::kChar)};
}

}  // namespace

std::vector<NamedTensor> coded_tensors(const Transformer& model) {
  std::vector<NamedTensor> tensors;
  for (size_t row = 0; row < model.table().size(); ++row) {
    const std::string& name = model.table()[row].name;
    if (!model.is_coded(row)) {
      tensors.push_back({name, model.weight(row)});
      continue;
    }
    const kernels::CodedMatrix& matrix = model.codes(row);
    tensors.push_back({name, matrix.codes.view(at::kByte)});
    tensors.push_back({exponents_of(name), matrix.exponents.view(at::kByte)});
  }
  return tensors;
}

bool has_codes(const std::vector<NamedTensor>& weights) {
  return std::ranges::any_of(weights, is_codes, &NamedTensor::tensor);
}

bool take_saved_weight(Transformer& model, size_t row,
                       std::vector<NamedTensor>& weights) {
  const std::string& name = model.table()[row].name;
  const at::Tensor tensor = taken(name, weights);
  if (!tensor.defined()) return false;
  if (is_codes(tensor)) {
    kernels::CodedMatrix matrix = matrix_of(name, tensor, weights);
    model.set_codes(row, {matrix.codes.to(model.device()),
                          matrix.exponents.to(model.device())});
  } else {
    model.set_weight(row, tensor.to(model.device()));
  }
  return true;
}

std::vector<NamedTensor> widened_codes(std::vector<NamedTensor> weights) {
  std::vector<NamedTensor> wide;
  for (size_t i = 0; i < weights.size(); ++i) {
    NamedTensor weight = weights[i];
    if (!weight.tensor.defined()) continue;
    if (is_codes(weight.tensor)) {
      const kernels::CodedMatrix matrix =
          matrix_of(weight.name, weight.tensor, weights);
      weight.tensor = kernels::owned_empty(matrix.codes.sizes(), at::kBFloat16);
      kernels::from_codes(matrix, weight.tensor);
    }
    weights[i].tensor.reset();
    wide.push_back(std::move(weight));
  }
  return wide;
}

}  // namespace annuli
