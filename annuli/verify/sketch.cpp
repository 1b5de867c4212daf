#include "annuli/verify/sketch.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>

#include "annuli/kernels/optim/squared_norm.h"
#include "annuli/model/shared_work.h"
#include "annuli/verify/axis_layout.h"
#include "annuli/verify/drawn_anew.h"
#include "annuli/verify/random_product.h"
#include "annuli/verify/unit_sums.h"

namespace annuli::verify {
namespace {

constexpr int64_t kPiece = int64_t{1} << 20;  // entries at a time
// Fewer results than this (of a shared expert's gate there is one) may all be
// small by chance, and say little of what rounding puts on them.
constexpr int64_t kFewResults = 8;

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

// By rows: types without a kernel are widened.
double rms_of(const at::Tensor& matrix) {
  double sum = 0;
  const int64_t step = std::max<int64_t>(1, kPiece / matrix.size(1));
  for (int64_t first = 0; first < matrix.size(0); first += step) {
    const int64_t count = std::min(step, matrix.size(0) - first);
    sum += kernels::squared_norm(matrix.narrow(0, first, count));
  }
  return std::sqrt(sum / static_cast<double>(matrix.numel()));
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

// The size of the results of a matrix times r: theirs, and of few not less than
// what it is on average, sqrt(C) of the entries' (`entries`: their root mean
// square).
double size_of(const at::Tensor& results, double entries, int64_t contracted) {
  const double found = std::sqrt(results.square().mean().item<double>());
  if (results.numel() >= kFewResults) return found;
  return std::max(found, entries * std::sqrt(static_cast<double>(contracted)));
}

double relative(const at::Tensor& difference, double size) {
  const double largest = difference.abs().max().item<double>();
  return size > 0 ? largest / size : largest;
}

// The share found is 1 + <difference, noise> / <noise, noise>. Entries that are
// off by themselves put differences of `size` on each of P numbers, and
// size / |noise| on the share.
double noise_off(const at::Tensor& difference, double size,
                 const at::Tensor& noise) {
  const double power = noise.square().sum().item<double>();
  if (power == 0) return 0;
  const double off = (difference * noise).sum().item<double>() / power;
  return std::abs(off) / (size / std::sqrt(power));
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
  at::Tensor expected = lay_out(parent.value, 0, other.slices) * factor;
  if (demanded.noise.defined()) expected = expected + demanded.noise;
  const Parts parts =
      parts_of(demanded, 1 - contracted,
               counted(other, expected.size(0), demanded.new_produced_is_zero));
  const at::Tensor difference = found - expected;
  const double size =
      size_of(expected, std::abs(factor) * parent.rms, r.size(0));
  SketchDistance result{relative(difference * parts.kept, size)};
  if (parent.noise.defined() || demanded.noise.defined()) {
    result.noise =
        noise_off(difference * parts.kept, size,
                  demanded.noise.defined()
                      ? demanded.noise
                      : lay_out(parent.noise, 0, other.slices) * factor);
  }
  if (parts.drawn.defined()) {
    result.drawn = relative(difference * parts.drawn, size);
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
  sketch.rms = rms_of(tensor.detach());
  if (is_kept_by_unit(spec)) {
    const at::Tensor l = random_input(rows_name(spec.name), tensor.size(0));
    sketch.by_unit = product(tensor.detach(), 0, l);
  }
  return sketch;
}

namespace {

std::vector<double> numbers_of(const Sketch& sketch) {
  std::vector<double> numbers = {static_cast<double>(sketch.dtype), sketch.rms};
  append_tensor(numbers, sketch.value);
  if (sketch.by_unit.defined()) append_tensor(numbers, sketch.by_unit);
  return numbers;
}

Sketch sketch_from(const std::string& name,
                   const std::vector<double>& numbers) {
  const double* next = numbers.data();
  const double* end = next + numbers.size();
  Sketch sketch{.name = name};
  sketch.dtype = static_cast<at::ScalarType>(*next++);
  sketch.rms = *next++;
  sketch.value = take_tensor(next);
  if (next != end) sketch.by_unit = take_tensor(next);
  return sketch;
}

}  // namespace

std::vector<Sketch> sketches_of(const Transformer& model,
                                parallel::ProcessGroup& group) {
  const auto rows = numbers_of_rows(
      model, group, "proving: tensors of the parent",
      [&](size_t row, const at::Tensor& weight) {
        return numbers_of(sketch_of(model.table()[row], weight));
      });
  std::vector<Sketch> sketches;
  for (size_t row = 0; row < rows.size(); ++row) {
    sketches.push_back(sketch_from(model.table()[row].name, rows[row]));
  }
  return sketches;
}

namespace {

// d Z of a matrix, some rows after the other: use(first row, rows).
template <typename Use>
void for_noise_rows(const TensorSpec& spec, const grow::AddedNoise& noise,
                    double deviation, uint64_t seed, const Use& use) {
  const int64_t rows = spec.dimensions[0].size();
  const int64_t columns = spec.dimensions[1].size();
  const int64_t step = std::max<int64_t>(1, kPiece / columns);
  for (int64_t first = 0; first < rows; first += step) {
    const int64_t count = std::min(step, rows - first);
    use(first, at::tensor(noise.numbers(seed, first, count, columns))
                   .to(at::kDouble)
                   .view({count, columns})
                   .mul(deviation));
  }
}

// Adds to `sum` what rows [first, ..) of a matrix give with r.
void add_product(at::Tensor& sum, int64_t first, const at::Tensor& rows,
                 int64_t contracted, const at::Tensor& r) {
  if (contracted == 1) {
    sum.narrow(0, first, rows.size(0)) += rows.matmul(r);
  } else {
    sum += rows.t().matmul(r.narrow(0, first, rows.size(0)));
  }
}

}  // namespace

at::Tensor noise_on_copies(const Demanded& demanded,
                           const grow::AddedNoise& noise, double deviation) {
  const int64_t contracted = contracted_dimension(demanded.parent);
  const at::Tensor r =
      lay_out(random_input(demanded.parent.name,
                           demanded.parent.dimensions[contracted].size()),
              0, demanded.recipe.dimensions.at(contracted).slices);
  at::Tensor sum = at::zeros({demanded.child.dimensions[1 - contracted].size()},
                             at::kDouble);
  for_noise_rows(demanded.child, noise, deviation, demanded.seed,
                 [&](int64_t first, const at::Tensor& rows) {
                   add_product(sum, first, rows, contracted, r);
                 });
  return sum;
}

Sketch with_noise(Sketch sketch, const TensorSpec& parent,
                  const grow::AddedNoise& noise, uint64_t seed) {
  const int64_t contracted = contracted_dimension(parent);
  const at::Tensor r =
      random_input(sketch.name, parent.dimensions[contracted].size());
  const at::Tensor l =
      sketch.by_unit.defined()
          ? random_input(rows_name(sketch.name), parent.dimensions[0].size())
          : at::Tensor();
  sketch.noise = at::zeros_like(sketch.value);
  if (l.defined()) sketch.by_unit = sketch.by_unit.clone();
  for_noise_rows(parent, noise, noise.relative_std * sketch.rms, seed,
                 [&](int64_t first, const at::Tensor& rows) {
                   add_product(sketch.noise, first, rows, contracted, r);
                   if (l.defined()) {
                     add_product(sketch.by_unit, first, rows, 0, l);
                   }
                 });
  sketch.value = sketch.value + sketch.noise;
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
