#include "annuli/verify/tensor_finding.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/grow/apply.h"
#include "annuli/grow/transforms/fresh.h"
#include "annuli/model/shared_work.h"
#include "annuli/verify/layer_pairs.h"
#include "annuli/verify/new_entries.h"
#include "annuli/verify/selection_audit.h"
#include "annuli/verify/verdict.h"

namespace annuli::verify {
namespace {

// By rows, so that no mask of a whole table is made.
bool is_whole(const at::Tensor& tensor) {
  if (!tensor.defined()) return false;
  constexpr int64_t kEntries = int64_t{1} << 22;
  const int64_t width = tensor.numel() / tensor.size(0);
  const int64_t count = std::max<int64_t>(1, kEntries / width);
  for (int64_t begin = 0; begin < tensor.size(0); begin += count) {
    const int64_t rows = std::min(count, tensor.size(0) - begin);
    if (!at::isfinite(tensor.narrow(0, begin, rows)).all().item<bool>()) {
      return false;
    }
  }
  return true;
}

const grow::AddedNoise* added_noise(const grow::TensorRecipe& tensor) {
  for (const grow::TransformPtr& transform : tensor.transforms) {
    if (const grow::AddedNoise* noise = transform->added()) return noise;
  }
  return nullptr;
}

// The noise was added to what an earlier step of a chain had laid out.
bool is_noise_on_copies(const grow::TensorRecipe& tensor) {
  return !tensor.steps.empty() && added_noise(tensor.steps.back()) != nullptr;
}

// Of all that transforms multiply the parent's values by.
double factor_of(const grow::TensorRecipe& tensor) {
  double factor = 1;
  for (const grow::TransformPtr& transform : tensor.transforms) {
    factor *= transform->factor();
  }
  return factor;
}

// A shard whose units have copies in the other shards of its dense layer:
// those are the experts up to the next multiple of G.
bool is_part_of_a_sum(const Sketch& parent, const Demanded& demanded) {
  return parent.by_unit.defined() && demanded.child.expert >= 0 &&
         held_share(demanded, 1) < 1;
}

// The dimension that a sketch of this tensor has an entry for.
size_t produced_dimension(const TensorSpec& spec) {
  return spec.dimensions[0].role == AxisRole::kContracted ? 1 : 0;
}

}  // namespace

std::vector<double> Finding::numbers() const {
  std::vector<double> list = {static_cast<double>(whole), roundoff,
                              distance.kept, static_cast<double>(is_judged)};
  for (const auto& value : {distance.drawn, distance.noise, fault}) {
    list.push_back(static_cast<double>(value.has_value()));
    list.push_back(value.value_or(0));
  }
  return list;
}

Finding Finding::of(const std::vector<double>& list) {
  const auto optional = [&](size_t at) {
    return list[at] == 0 ? std::nullopt : std::optional(list[at + 1]);
  };
  return {.whole = list[0] != 0,
          .roundoff = list[1],
          .distance = {list[2], optional(4), optional(6)},
          .is_judged = list[3] != 0,
          .fault = optional(8)};
}

TensorMeasure::TensorMeasure(const std::vector<std::vector<Sketch>>& parents,
                             const grow::Recipe& recipe,
                             const Transformer& child,
                             const std::vector<at::Tensor>& router_mean)
    : parents_(parents),
      recipe_(recipe),
      child_(child),
      router_mean_(router_mean),
      demands_(recipe),
      parent_table_(tensor_table(recipe.parent)) {
  for (size_t row = 0; row < parent_table_.size(); ++row) {
    parent_row_[parent_table_[row].name] = row;
  }
}

// Sums of shards need them in their order.
std::vector<Finding> TensorMeasure::of_all(parallel::ProcessGroup& group) {
  std::vector<Finding> findings;
  if (demands_.shards() > 1) {
    for (size_t row = 0; row < table().size(); ++row) {
      findings.push_back(of_row(row, child_.read_weight(row)));
    }
    return findings;
  }
  for (const auto& numbers :
       numbers_of_rows(child_, group, "proving: tensors of the child",
                       [&](size_t row, const at::Tensor&w) {
                         return of_row(row, w).numbers();
                       })) {
    findings.push_back(Finding::of(numbers));
  }
  return findings;
}

const grow::TensorRecipe* TensorMeasure::recipe_of(size_t row) const {
  const bool has_one = row < recipe_.tensors.size() &&
                       recipe_.tensors[row].child == table()[row].name;
  return has_one ? &recipe_.tensors[row] : nullptr;
}

Finding TensorMeasure::of_row(size_t row, const at::Tensor& weight) {
  Finding finding{.whole = is_whole(weight)};
  const grow::TensorRecipe* tensor = recipe_of(row);
  if (!finding.whole || tensor == nullptr) return finding;
  if (table()[row].part == Part::kSelectionBias) {
    measure_selection(row, *tensor, weight, finding);
  } else if (tensor->source == grow::Source::kFresh) {
    measure_fresh(row, *tensor, weight, finding);
  } else if (tensor->source != grow::Source::kParent) {
    finding.fault = fault_of_made(row, *tensor, weight);
  } else if (parent_row_.contains(tensor->parent)) {
    measure_copied(row, *tensor, weight, finding);
  }
  return finding;
}

// Of the parent, with the noise that the child must show.
Sketch TensorMeasure::sketch_for(const grow::TensorRecipe& tensor,
                                 size_t from) const {
  Sketch sketch = mean_sketch(tensor, from);
  const grow::AddedNoise* noise = added_noise(tensor);
  if (noise == nullptr || is_noise_on_copies(tensor)) return sketch;
  // The sketch is multiplied afterwards.
  return with_noise(std::move(sketch), parent_table_[from],
                    {noise->relative_std / factor_of(tensor), noise->stream},
                    recipe_.seed);
}

// The mean of the models that the tensor is made of. (A dense layer's down,
// which alone is kept by unit, is never a mean.)
Sketch TensorMeasure::mean_sketch(const grow::TensorRecipe& tensor,
                                  size_t from) const {
  Sketch sketch = parents_.at(tensor.models.at(0)).at(from);
  if (tensor.models.size() == 1) return sketch;
  sketch.value = sketch.value.clone();
  for (size_t i = 1; i < tensor.models.size(); ++i) {
    sketch.value += parents_.at(tensor.models[i]).at(from).value;
  }
  sketch.value /= static_cast<double>(tensor.models.size());
  return sketch;
}

void TensorMeasure::measure_copied(size_t row, const grow::TensorRecipe& tensor,
                                   const at::Tensor& weight, Finding& finding) {
  const size_t parent = parent_row_.at(tensor.parent);
  finding.roundoff = entry_roundoff(
      digits(row, tensor), stored_type(tensor, parent), weight.scalar_type());
  Origin origin{sketch_for(tensor, parent), parent_table_[parent],
                demands_.factor(row) * factor_of(tensor)};
  if (is_noise_on_copies(tensor)) {
    origin.noise = added_noise(tensor);
    origin.deviation = origin.noise->relative_std * origin.sketch.rms *
                       std::abs(demands_.entry_factor(row));
  }
  measure_against(origin, row, tensor, weight, finding);
}

at::ScalarType TensorMeasure::stored_type(const grow::TensorRecipe& tensor,
                                          size_t parent) const {
  return parents_.at(tensor.models.at(0)).at(parent).dtype;
}

// A tensor of a random layer, drawn once more from the seed: what the child
// holds is that, laid out by the steps that came after it. Nothing is asked
// where nobody knows the seed.
void TensorMeasure::measure_fresh(size_t row, const grow::TensorRecipe& tensor,
                                  const at::Tensor& weight, Finding& finding) {
  grow::TensorRecipe laid_out = tensor;
  if (laid_out.dimensions.empty()) {
    for (const int64_t size : tensor.shape) {
      laid_out.dimensions.push_back({{{0, size}}, 1});
    }
  }
  const grow::TensorRecipe& first =
      tensor.steps.empty() ? tensor : tensor.steps.front();
  const auto* fresh = first.find<grow::Fresh>();
  ANNULI_CHECK(fresh != nullptr, "nobody says how {} is drawn", first.child);
  const bool is_known = fresh->values == FirstValues::kOne || fresh->std > 0;
  if (!is_known) return;
  const at::Tensor drawn =
      grow::apply(first, {}, recipe_.seed, weight.scalar_type());
  finding.fault = fresh_fault(first, drawn, recipe_.child.initializer_range);
  const double stated =
      tensor.scale * static_cast<double>(tensor.contracted_copies);
  finding.roundoff =
      entry_roundoff(tensor.scale, weight.scalar_type(), weight.scalar_type());
  const TensorSpec from = spec_of_drawn(row, first);
  measure_against({sketch_of(from, drawn), from, stated}, row, laid_out, weight,
                  finding);
}

// Against the biases of the parent's layer, if it has some: a layer that is new
// and random has none of it.
void TensorMeasure::measure_selection(size_t row,
                                      const grow::TensorRecipe& tensor,
                                      const at::Tensor& weight,
                                      Finding& finding) {
  const int64_t layer = table()[row].layer;
  const bool is_drawn = !recipe_.layer_is_mapped.at(layer) &&
                        tensor.source != grow::Source::kParent;
  const int64_t from = is_drawn ? -1
                                : find_row(parent_table_, Part::kSelectionBias,
                                           recipe_.layer_map.at(layer));
  at::Tensor before;
  if (from >= 0) {
    const Sketch& sketch = parents_.at(0).at(from);
    before = sketch.value;
    finding.roundoff =
        entry_roundoff(1 / static_cast<double>(copies_of_experts(recipe_)),
                       sketch.dtype, weight.scalar_type());
  }
  const SelectionFinding found =
      selection_finding(recipe_, tensor, before, weight);
  finding.distance.kept = found.distance;
  finding.fault = found.closed;
  finding.is_judged = true;
}

// The row as it was in the model that the tensor was drawn for.
TensorSpec TensorMeasure::spec_of_drawn(size_t row,
                                        const grow::TensorRecipe& drawn) const {
  TensorSpec spec = table()[row];
  spec.name = drawn.child;
  if (find_row(table(), drawn.child) < 0) spec.expert = -1;  // of a dense one
  for (size_t i = 0; i < spec.dimensions.size(); ++i) {
    Dimension& dimension = spec.dimensions[i];
    dimension.count = drawn.shape[i] / dimension.block;
  }
  return spec;
}

void TensorMeasure::measure_against(const Origin& origin, size_t row,
                                    const grow::TensorRecipe& tensor,
                                    const at::Tensor& weight,
                                    Finding& finding) {
  const auto& [sketch, from, factor, noise, deviation] = origin;
  Demanded demanded{.parent = from,
                    .recipe = tensor,
                    .child = table()[row],
                    .factor = factor,
                    .new_produced_is_zero = demands_.new_entries_are_zero(
                        row, produced_dimension(from)),
                    .seed = recipe_.seed};
  if (noise != nullptr) {
    demanded.noise = noise_on_copies(demanded, *noise, deviation);
  }
  if (tensor.has_new_entries()) {
    finding.fault = worse(finding.fault.value_or(0),
                          new_entries_fault(demands_, row, tensor, weight));
  }
  finding.is_judged = true;
  if (!is_part_of_a_sum(sketch, demanded)) {
    finding.distance = sketch_distance(sketch, demanded, weight);
    return;
  }
  shards_.add(sketch, demanded, weight);
  const auto shards = static_cast<int64_t>(demands_.shards());
  finding.is_judged = (table()[row].expert + 1) % shards == 0;
  if (!finding.is_judged) return;
  finding.distance = shards_.distance();
  shards_ = {};
}

// The factor that rounds as the tensor's entries do. A mean of several needs
// more digits than any of them, and so does noise.
double TensorMeasure::digits(size_t row,
                             const grow::TensorRecipe& tensor) const {
  constexpr double kInexact = 1 / 3.0;
  return tensor.models.size() > 1 || added_noise(tensor) != nullptr
             ? kInexact
             : demands_.entry_factor(row);
}

double TensorMeasure::fault_of_made(size_t row,
                                    const grow::TensorRecipe& tensor,
                                    const at::Tensor& weight) const {
  if (tensor.source == grow::Source::kZero) return zero_fault(weight);
  const at::Tensor mean = router_mean_.empty() || tensor.layer < 0
                              ? at::Tensor()
                              : router_mean_.at(tensor.layer);
  // The shards of one copy share a row.
  const auto equal_rows = static_cast<int64_t>(demands_.shards());
  return router_fault(tensor, weight, mean, equal_rows);
}

}  // namespace annuli::verify
