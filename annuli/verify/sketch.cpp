#include "annuli/verify/sketch.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/where.h>

#include "annuli/verify/axis_layout.h"
#include "annuli/verify/drawn_anew.h"
#include "annuli/verify/random_product.h"
#include "annuli/verify/unit_sums.h"

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

// What upcycling cuts in shards or draws units of.
bool is_kept_by_unit(const TensorSpec& spec) {
  return spec.part == Part::kDown && spec.expert == -1;
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

// Splits what counts in kept and drawn entries; `drawn` may be undefined.
struct Parts {
  at::Tensor kept;
  at::Tensor drawn;
};

Parts parts_of(const Demanded& demanded, int64_t dimension,
               const at::Tensor& mask) {
  const at::Tensor drawn =
      drawn_anew(demanded.recipe, dimension, demanded.seed);
  if (!drawn.defined()) return {mask, {}};
  return {mask * (1 - drawn), drawn};
}

// A few constant biases, drawn anew with their mean and deviation, may well be
// what they were: of a vector only the kept entries say anything.
SketchDistance of_vector(const Sketch& parent, const Demanded& demanded,
                         const at::Tensor& child) {
  const grow::DimensionRecipe& only = demanded.recipe.dimensions.at(0);
  const at::Tensor expected =
      lay_out(parent.value, 0, only.slices) * demanded.factor;
  const Parts parts =
      parts_of(demanded, 0,
               counted(only, expected.size(0), demanded.new_produced_is_zero));
  return {largest_ratio((in_double(child) - expected) * parts.kept, expected)};
}

SketchDistance of_matrix(const Sketch& parent, const Demanded& demanded,
                         int64_t contracted, const at::Tensor& child) {
  const auto& dimensions = demanded.recipe.dimensions;
  const at::Tensor r =
      random_input(parent.name, demanded.parent.dimensions[contracted].size());
  const at::Tensor found =
      product(child.detach(), contracted,
              lay_out(r, 0, dimensions.at(contracted).slices));
  const grow::DimensionRecipe& other = dimensions.at(1 - contracted);
  double factor = demanded.factor * held_share(demanded, contracted);
  // An untied head is the table turned: its residual dimension is summed over
  // when it is applied, but not here, so each of the copies shows by itself.
  if (demanded.child.dimensions[1 - contracted].role == AxisRole::kContracted) {
    factor /= static_cast<double>(demanded.recipe.contracted_copies);
  }
  const at::Tensor expected = lay_out(parent.value, 0, other.slices) * factor;
  const Parts parts =
      parts_of(demanded, 1 - contracted,
               counted(other, expected.size(0), demanded.new_produced_is_zero));
  const at::Tensor difference = found - expected;
  SketchDistance result{against_rms(difference * parts.kept, expected)};
  if (parts.drawn.defined()) {
    result.drawn = against_rms(difference * parts.drawn, expected);
  }
  return result;
}

}  // namespace

Sketch sketch_of(const TensorSpec& spec, const at::Tensor& tensor) {
  const int64_t contracted = contracted_dimension(spec);
  Sketch sketch{.name = spec.name, .dtype = tensor.scalar_type()};
  if (contracted < 0) {
    sketch.value = in_double(tensor).clone();
    return sketch;
  }
  const at::Tensor r =
      random_input(spec.name, spec.dimensions[contracted].size());
  sketch.value = product(tensor.detach(), contracted, r);
  if (is_kept_by_unit(spec)) {
    const at::Tensor l = random_input(rows_name(spec.name), tensor.size(0));
    sketch.by_unit = product(tensor.detach(), 0, l);
  }
  return sketch;
}

SketchDistance sketch_distance(const Sketch& parent, const Demanded& demanded,
                               const at::Tensor& child) {
  const int64_t contracted = contracted_dimension(demanded.parent);
  if (contracted < 0) return of_vector(parent, demanded, child);
  if (parent.by_unit.defined() && lacks_units(demanded, contracted)) {
    UnitSums sums;
    sums.add(parent, demanded, child);
    return sums.distance();
  }
  return of_matrix(parent, demanded, contracted, child);
}

}  // namespace annuli::verify
