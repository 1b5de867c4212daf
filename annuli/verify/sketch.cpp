#include "annuli/verify/sketch.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <cmath>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/core/rng.h"
#include "annuli/kernels/normal_fill.h"

namespace annuli::verify {
namespace {

// The one contracted dimension, or -1 for a gain.
int64_t contracted_dimension(const TensorSpec& spec) {
  for (size_t i = 0; i < spec.dimensions.size(); ++i) {
    if (spec.dimensions[i].role == AxisRole::kContracted) {
      return static_cast<int64_t>(i);
    }
  }
  return -1;
}

at::Tensor random_input(const std::string& name, int64_t size) {
  at::Tensor r = at::empty({size}, at::kDouble);
  kernels::fill_normal(r, CounterRng(0, "sketch/" + name), 1);
  return r;
}

// Entries of `parent` in the order of a child dimension.
at::Tensor lay_out(const at::Tensor& parent,
                   const grow::DimensionRecipe& recipe) {
  std::vector<at::Tensor> pieces;
  for (const grow::Slice& slice : recipe.slices) {
    pieces.push_back(parent.narrow(0, slice.start, slice.length));
  }
  return at::cat(pieces);
}

// W r in fp64, a few rows at a time so that no large tensor is held twice.
at::Tensor apply_to(const at::Tensor& tensor, int64_t contracted,
                    const at::Tensor& r) {
  const at::Tensor matrix = contracted == 0 ? tensor.t() : tensor;
  constexpr int64_t kEntries = int64_t{1} << 22;
  const int64_t rows = std::max<int64_t>(1, kEntries / matrix.size(1));
  std::vector<at::Tensor> pieces;
  for (int64_t begin = 0; begin < matrix.size(0); begin += rows) {
    const int64_t count = std::min(rows, matrix.size(0) - begin);
    pieces.push_back(
        matrix.narrow(0, begin, count).cpu().to(at::kDouble).mv(r));
  }
  return at::cat(pieces);
}

}  // namespace

Sketch sketch_of(const TensorSpec& spec, const at::Tensor& tensor) {
  const int64_t contracted = contracted_dimension(spec);
  if (contracted < 0) {
    return {spec.name, tensor.detach().cpu().to(at::kDouble).clone()};
  }
  const at::Tensor r =
      random_input(spec.name, spec.dimensions[contracted].size());
  return {spec.name, apply_to(tensor.detach(), contracted, r)};
}

double sketch_distance(const Sketch& parent, const TensorSpec& parent_spec,
                       const grow::TensorRecipe& recipe,
                       const TensorSpec& child_spec, const at::Tensor& child,
                       double factor) {
  const int64_t contracted = contracted_dimension(parent_spec);
  at::Tensor found;
  at::Tensor expected;
  if (contracted < 0) {
    found = child.detach().cpu().to(at::kDouble);
    expected = lay_out(parent.value, recipe.dimensions.at(0));
  } else {
    const at::Tensor r =
        random_input(parent.name, parent_spec.dimensions[contracted].size());
    found = apply_to(child.detach(), contracted,
                     lay_out(r, recipe.dimensions.at(contracted)));
    const grow::DimensionRecipe& other = recipe.dimensions.at(1 - contracted);
    expected = lay_out(parent.value, other);
    // An untied head is the table turned: its residual dimension is summed over
    // when it is applied, but not here, so each of the copies shows by itself.
    if (child_spec.dimensions[1 - contracted].role == AxisRole::kContracted) {
      factor /= static_cast<double>(other.copies);
    }
  }
  expected = expected * factor;
  const double largest = (found - expected).abs().max().item<double>();
  const double rms = std::sqrt(expected.square().mean().item<double>());
  return rms > 0 ? largest / rms : largest;
}

}  // namespace annuli::verify
