#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "annuli/grow/recipe.h"
#include "annuli/model/tensor_table.h"

// The child's axes seen from the parent's: what the checks lay activations and
// sketches out by.
namespace annuli::verify {

// `tensor` with the entries of dimension `dim` in the child's order; zeros
// where an entry is new.
at::Tensor lay_out(const at::Tensor& tensor, int64_t dim,
                   const std::vector<grow::Slice>& slices);
// The same by an axis of the recipe, in steps of the axis; the tensor itself
// where the axis is unchanged.
at::Tensor lay_out(const at::Tensor& tensor, int64_t dim,
                   const grow::Recipe& recipe, Axis axis);

// The child's entries from the parent's, one number each; kNew where new.
std::vector<int64_t> sources(const std::vector<grow::Slice>& slices);

// How an axis has grown, in its own steps.
struct AxisGrowth {
  int64_t parent = 0;
  int64_t child = 0;
  int64_t kept = 0;  // entries of the child that are a parent's

  // Copies of each parent entry, on average.
  double copies() const {
    return static_cast<double>(kept) / static_cast<double>(parent);
  }
  // The mean square of zero-padded copies, as a share of the parent's.
  double kept_share() const {
    return static_cast<double>(kept) / static_cast<double>(child);
  }
};
// Steps of residual, head, kv_head, ffn, shared_ffn or expert in the parent's
// config, and what the recipe makes of them.
AxisGrowth axis_growth(const grow::Recipe& recipe, Axis axis);

// No axis is cut, tiled, padded or reordered.
bool keeps_axes(const grow::Recipe& recipe);

}  // namespace annuli::verify
