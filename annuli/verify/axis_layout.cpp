#include "annuli/verify/axis_layout.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>

#include "annuli/core/error.h"

namespace annuli::verify {
namespace {

const std::vector<grow::Slice>* slices_of(const grow::Recipe& recipe,
                                          Axis axis) {
  const auto found = recipe.axes.find(axis);
  return found == recipe.axes.end() ? nullptr : &found->second;
}

int64_t parent_size(const ModelConfig& config, Axis axis) {
  switch (axis) {
    case Axis::kVocab:
      return config.vocab_size;
    case Axis::kResidual:
      return config.hidden_size;
    case Axis::kHead:
      return config.num_attention_heads;
    case Axis::kKvHead:
      return config.num_key_value_heads;
    case Axis::kHeadDim:
      return config.head_dim;
    case Axis::kFfn:
      return config.intermediate_size;
    case Axis::kSharedFfn:
      return config.shared_expert_intermediate_size;
    case Axis::kExpert:
      return config.num_experts;
    case Axis::kUnit:
      return 1;
  }
  ANNULI_CHECK(false, "activations have no axis {}", to_string(axis));
  return 0;
}

}  // namespace

at::Tensor lay_out(const at::Tensor& tensor, int64_t dim,
                   const std::vector<grow::Slice>& slices) {
  std::vector<at::Tensor> pieces;
  for (const grow::Slice& slice : slices) {
    if (slice.is_new()) {
      std::vector<int64_t> shape = tensor.sizes().vec();
      shape.at(dim) = slice.length;
      pieces.push_back(at::zeros(shape, tensor.options()));
    } else {
      pieces.push_back(tensor.narrow(dim, slice.start, slice.length));
    }
  }
  return pieces.size() == 1 ? pieces[0] : at::cat(pieces, dim);
}

at::Tensor lay_out(const at::Tensor& tensor, int64_t dim,
                   const grow::Recipe& recipe, Axis axis) {
  const auto* slices = slices_of(recipe, axis);
  return slices == nullptr ? tensor : lay_out(tensor, dim, *slices);
}

std::vector<int64_t> sources(const std::vector<grow::Slice>& slices) {
  std::vector<int64_t> entries;
  for (const grow::Slice& slice : slices) {
    for (int64_t i = 0; i < slice.length; ++i) {
      entries.push_back(slice.is_new() ? grow::kNew : slice.start + i);
    }
  }
  return entries;
}

AxisGrowth axis_growth(const grow::Recipe& recipe, Axis axis) {
  AxisGrowth growth{.parent = parent_size(recipe.parent, axis)};
  const auto* slices = slices_of(recipe, axis);
  if (slices == nullptr) {
    growth.child = growth.kept = growth.parent;
    return growth;
  }
  for (const grow::Slice& slice : *slices) {
    growth.child += slice.length;
    if (!slice.is_new()) growth.kept += slice.length;
  }
  return growth;
}

bool keeps_axes(const grow::Recipe& recipe) {
  for (const auto& [axis, slices] : recipe.axes) {
    const grow::Slice whole{0, parent_size(recipe.parent, axis)};
    if (slices != std::vector<grow::Slice>{whole}) return false;
  }
  return true;
}

}  // namespace annuli::verify
