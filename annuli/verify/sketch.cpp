#include "annuli/verify/sketch.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_add.h>
#include <ATen/ops/index_copy.h>
#include <ATen/ops/index_fill.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/core/rng.h"
#include "annuli/kernels/normal_fill.h"
#include "annuli/verify/axis_layout.h"
#include "annuli/verify/drawn_anew.h"

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

// W r in fp64, or W^T r where the rows are contracted; r: [C] or [C, n].
at::Tensor apply_to(const at::Tensor& tensor, int64_t contracted,
                    const at::Tensor& r) {
  const int64_t count = std::max<int64_t>(1, kEntries / tensor.size(1));
  std::vector<at::Tensor> pieces;
  at::Tensor sum;
  for (int64_t begin = 0; begin < tensor.size(0); begin += count) {
    const int64_t rows = std::min(count, tensor.size(0) - begin);
    const at::Tensor block = in_double(tensor.narrow(0, begin, rows));
    if (contracted == 1) {
      pieces.push_back(block.matmul(r));
    } else {
      const at::Tensor part = block.t().matmul(r.narrow(0, begin, rows));
      sum = sum.defined() ? sum + part : part;
    }
  }
  return contracted == 1 ? at::cat(pieces) : sum;
}

// What upcycling cuts in shards or draws units of.
bool is_kept_by_unit(const TensorSpec& spec) {
  return spec.part == Part::kDown && spec.expert == -1;
}

std::string rows_name(const std::string& name) { return name + "/rows"; }

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

// Splits what counts in kept and drawn entries; `drawn` may be undefined.
struct Parts {
  at::Tensor kept;
  at::Tensor drawn;
};

Parts parts_of(const Demanded& demanded, int64_t dimension, at::Tensor mask) {
  const at::Tensor drawn =
      drawn_anew(demanded.recipe, dimension, demanded.seed);
  if (!drawn.defined()) return {mask, {}};
  return {mask * (1 - drawn), drawn};
}

SketchDistance distance(const at::Tensor& found, const at::Tensor& expected,
                        const Parts& parts) {
  const at::Tensor difference = found - expected;
  SketchDistance result{against_rms(difference * parts.kept, expected)};
  if (parts.drawn.defined()) {
    result.drawn = against_rms(difference * parts.drawn, expected);
  }
  return result;
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

// Of the copies that a sum is over, the share that this tensor holds: shards
// cut from a wider layer hold one each.
double held_share(const Demanded& demanded, int64_t contracted) {
  if (demanded.child.dimensions[contracted].role != AxisRole::kContracted) {
    return 1;
  }
  return static_cast<double>(demanded.recipe.dimensions[contracted].copies) /
         static_cast<double>(demanded.recipe.contracted_copies);
}

SketchDistance of_matrix(const Sketch& parent, const Demanded& demanded,
                         int64_t contracted, const at::Tensor& child) {
  const auto& dimensions = demanded.recipe.dimensions;
  const at::Tensor r =
      random_input(parent.name, demanded.parent.dimensions[contracted].size());
  const at::Tensor found =
      apply_to(child.detach(), contracted,
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
  return distance(found, expected, parts);
}

// Not every unit of the parent is in the child as it was.
bool lacks_units(const Demanded& demanded, int64_t contracted) {
  if (drawn_anew(demanded.recipe, contracted, demanded.seed).defined()) {
    return true;
  }
  const auto units = sources(demanded.recipe.dimensions.at(contracted).slices);
  std::set<int64_t> held(units.begin(), units.end());
  held.erase(grow::kNew);
  return static_cast<int64_t>(held.size()) <
         demanded.parent.dimensions[contracted].size();
}

// l for every copy of the rows, 0 where a row is of another copy or new:
// [P', copies].
at::Tensor rows_input(const Demanded& demanded, const at::Tensor& l) {
  const grow::DimensionRecipe& rows = demanded.recipe.dimensions.at(0);
  const auto from = sources(rows.slices);
  at::Tensor input =
      at::zeros({static_cast<int64_t>(from.size()), rows.copies}, at::kDouble);
  auto into = input.accessor<double, 2>();
  const auto at = l.accessor<double, 1>();
  std::vector<int64_t> seen(l.size(0));
  for (size_t row = 0; row < from.size(); ++row) {
    if (from[row] == grow::kNew) continue;
    into[static_cast<int64_t>(row)][seen[from[row]]++] = at[from[row]];
  }
  return input;
}

// The child's entries that are units of the parent, and which.
std::pair<at::Tensor, at::Tensor> held_units(
    const std::vector<int64_t>& units) {
  std::vector<int64_t> entries;
  std::vector<int64_t> held;
  for (size_t i = 0; i < units.size(); ++i) {
    if (units[i] == grow::kNew) continue;
    entries.push_back(static_cast<int64_t>(i));
    held.push_back(units[i]);
  }
  return {at::tensor(entries), at::tensor(held)};
}

SketchDistance of_units(const Sketch& parent, const Demanded& demanded,
                        const at::Tensor& child) {
  const at::Tensor l = random_input(rows_name(parent.name),
                                    demanded.parent.dimensions[0].size());
  const at::Tensor per_entry =
      apply_to(child.detach(), 0, rows_input(demanded, l));  // [C', copies]
  const auto units = sources(demanded.recipe.dimensions.at(1).slices);
  const at::Tensor drawn = drawn_anew(demanded.recipe, 1, demanded.seed);
  const auto [entries, held] = held_units(units);
  // Sums over a unit's copies; and whether it is in the child, and drawn.
  at::Tensor found =
      at::zeros({parent.by_unit.size(0), per_entry.size(1)}, at::kDouble);
  found.index_add_(0, held, per_entry.index_select(0, entries));
  at::Tensor is_held = at::zeros({parent.by_unit.size(0), 1}, at::kDouble);
  is_held.index_fill_(0, held, 1);
  at::Tensor is_drawn = at::zeros_like(is_held);
  if (drawn.defined()) {
    is_drawn.index_copy_(0, held, drawn.index_select(0, entries).unsqueeze(1));
  }
  const at::Tensor expected =
      (parent.by_unit * (demanded.factor * held_share(demanded, 1)))
          .unsqueeze(1)
          .expand_as(found);
  Parts parts{is_held * (1 - is_drawn), {}};
  if (drawn.defined()) parts.drawn = is_drawn;
  return distance(found, expected, parts);
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
  sketch.value = apply_to(tensor.detach(), contracted, r);
  if (is_kept_by_unit(spec)) {
    const at::Tensor l = random_input(rows_name(spec.name), tensor.size(0));
    sketch.by_unit = apply_to(tensor.detach(), 0, l);
  }
  return sketch;
}

SketchDistance sketch_distance(const Sketch& parent, const Demanded& demanded,
                               const at::Tensor& child) {
  const int64_t contracted = contracted_dimension(demanded.parent);
  if (contracted < 0) return of_vector(parent, demanded, child);
  if (parent.by_unit.defined() && lacks_units(demanded, contracted)) {
    return of_units(parent, demanded, child);
  }
  return of_matrix(parent, demanded, contracted, child);
}

}  // namespace annuli::verify
