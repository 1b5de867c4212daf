#include "annuli/verify/sketch.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/core/rng.h"
#include "annuli/kernels/normal_fill.h"
#include "annuli/verify/axis_layout.h"

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

constexpr int64_t kEntries = int64_t{1} << 21;  // 16 MB of fp64

at::Tensor in_double(const at::Tensor& tensor) {
  return tensor.detach().cpu().to(at::kDouble);
}

// W r in fp64, or W^T r where the rows are contracted.
at::Tensor apply_to(const at::Tensor& tensor, int64_t contracted,
                    const at::Tensor& r) {
  const int64_t count = std::max<int64_t>(1, kEntries / tensor.size(1));
  std::vector<at::Tensor> pieces;
  at::Tensor sum;
  for (int64_t begin = 0; begin < tensor.size(0); begin += count) {
    const int64_t rows = std::min(count, tensor.size(0) - begin);
    const at::Tensor block = in_double(tensor.narrow(0, begin, rows));
    if (contracted == 1) {
      pieces.push_back(block.mv(r));
    } else {
      const at::Tensor part = block.t().mv(r.narrow(0, begin, rows));
      sum = sum.defined() ? sum + part : part;
    }
  }
  return contracted == 1 ? at::cat(pieces) : sum;
}

// 1 where an entry counts.
at::Tensor counted(const grow::DimensionRecipe& dimension, int64_t size,
                   bool new_counts) {
  at::Tensor mask = at::ones({size}, at::kDouble);
  int64_t begin = 0;
  for (const grow::Slice& slice : dimension.slices) {
    if (slice.is_new() && !new_counts) {
      mask.narrow(0, begin, slice.length).zero_();
    }
    begin += slice.length;
  }
  return mask;
}

// 0 / 0 is no distance; NaN stays NaN.
double largest_ratio(const at::Tensor& difference, const at::Tensor& size) {
  const at::Tensor ratio = difference.abs() / size.abs();
  return at::where(difference == 0, 0.0, ratio).max().item<double>();
}

double against_rms(const at::Tensor& difference, const at::Tensor& expected) {
  const double largest = difference.abs().max().item<double>();
  const double rms = std::sqrt(expected.square().mean().item<double>());
  return rms > 0 ? largest / rms : largest;
}

}  // namespace

Sketch sketch_of(const TensorSpec& spec, const at::Tensor& tensor) {
  const int64_t contracted = contracted_dimension(spec);
  const at::ScalarType dtype = tensor.scalar_type();
  if (contracted < 0) return {spec.name, in_double(tensor).clone(), dtype};
  const at::Tensor r =
      random_input(spec.name, spec.dimensions[contracted].size());
  return {spec.name, apply_to(tensor.detach(), contracted, r), dtype};
}

double sketch_distance(const Sketch& parent, const TensorSpec& parent_spec,
                       const grow::TensorRecipe& recipe,
                       const TensorSpec& child_spec, const at::Tensor& child,
                       double factor, bool new_produced_is_zero) {
  const int64_t contracted = contracted_dimension(parent_spec);
  if (contracted < 0) {
    const grow::DimensionRecipe& only = recipe.dimensions.at(0);
    const at::Tensor expected = lay_out(parent.value, 0, only.slices) * factor;
    const at::Tensor mask =
        counted(only, expected.size(0), new_produced_is_zero);
    return largest_ratio((in_double(child) - expected) * mask, expected);
  }
  const at::Tensor r =
      random_input(parent.name, parent_spec.dimensions[contracted].size());
  const at::Tensor found =
      apply_to(child.detach(), contracted,
               lay_out(r, 0, recipe.dimensions.at(contracted).slices));
  const grow::DimensionRecipe& other = recipe.dimensions.at(1 - contracted);
  // An untied head is the table turned: its residual dimension is summed over
  // when it is applied, but not here, so each of the copies shows by itself.
  if (child_spec.dimensions[1 - contracted].role == AxisRole::kContracted) {
    factor /= static_cast<double>(recipe.contracted_copies);
  }
  const at::Tensor expected = lay_out(parent.value, 0, other.slices) * factor;
  const at::Tensor mask =
      counted(other, expected.size(0), new_produced_is_zero);
  return against_rms((found - expected) * mask, expected);
}

}  // namespace annuli::verify
