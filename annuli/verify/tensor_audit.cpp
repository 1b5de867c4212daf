#include "annuli/verify/tensor_audit.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>
#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/grow/apply.h"
#include "annuli/grow/transforms/fresh.h"
#include "annuli/model/shared_work.h"
#include "annuli/verify/demands.h"
#include "annuli/verify/layer_pairs.h"
#include "annuli/verify/new_entries.h"
#include "annuli/verify/unit_sums.h"

namespace annuli::verify {
namespace {

constexpr const char* kCheck = "tensor_audit";

// What storage keeps exactly differs by the rounding of the fp64 dot product of
// C terms: about sqrt(C) 2^-53 of the rms of the result, 1e-13 for C = 2^20,
// noise of 0.3 of the weight included.
constexpr double kExactLimit = 1e-11;

// Otherwise every stored entry is off by up to u of itself, the unit roundoff
// of its type. Over C terms that is below u of the rms of the result on
// average, and the largest of P results is below 8 times that; an entry of a
// gain or bias is off by u itself, or twice u where it was rounded on the way.
double sketch_limit(double roundoff) {
  return std::max(kExactLimit, 8 * roundoff);
}

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

// The worst of several tensors, and the first that is beyond the limit.
struct Worst {
  double measured = 0;
  const TensorSpec* first_bad = nullptr;

  void see(double value, double limit, const TensorSpec& spec) {
    measured = worse(measured, value);
    if (!(value <= limit) && first_bad == nullptr) first_bad = &spec;
  }
  Verdict verdict(const std::string& aspect, double limit) const {
    Verdict verdict = at_most(kCheck, aspect, measured, limit);
    if (first_bad != nullptr) {
      verdict.tensor = first_bad->name;
      verdict.layer = first_bad->layer;
    }
    return verdict;
  }
};

// What one tensor of the child shows.
struct Finding {
  bool whole = false;           // there, and finite
  double roundoff = 0;          // of a copied one's entries
  SketchDistance distance;      // of a copied one
  bool is_judged = false;       // by `distance`: not where others end the sum
  std::optional<double> fault;  // of what is new, in units of its limit

  std::vector<double> numbers() const {
    std::vector<double> list = {static_cast<double>(whole), roundoff,
                                distance.kept, static_cast<double>(is_judged)};
    for (const auto& value : {distance.drawn, distance.noise, fault}) {
      list.push_back(static_cast<double>(value.has_value()));
      list.push_back(value.value_or(0));
    }
    return list;
  }
  static Finding of(const std::vector<double>& list) {
    const auto optional = [&](size_t at) {
      return list[at] == 0 ? std::nullopt : std::optional(list[at + 1]);
    };
    return {.whole = list[0] != 0,
            .roundoff = list[1],
            .distance = {list[2], optional(4), optional(6)},
            .is_judged = list[3] != 0,
            .fault = optional(8)};
  }
};

class Audit {
 public:
  Audit(const std::vector<std::vector<Sketch>>& parents,
        const grow::Recipe& recipe, const Transformer& child,
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

  std::vector<Verdict> run(parallel::ProcessGroup& group) {
    const std::vector<Finding> findings = findings_of_all(group);
    for (size_t row = 0; row < table().size(); ++row) see(row, findings[row]);
    account_for_parents();
    std::vector<Verdict> verdicts = {accounts()};
    if (faults_ > 0) return verdicts;
    verdicts.push_back(
        exact_.verdict("copied tensors against the parent's", kExactLimit));
    if (roundoff_ > 0) {
      verdicts.push_back(rounded_.verdict("the same, of those that are rounded",
                                          sketch_limit(roundoff_)));
    }
    if (has_made_) {
      verdicts.push_back(
          made_.verdict("what is new, in units of its limits", 1));
    }
    return verdicts;
  }

 private:
  const TensorTable& table() const { return child_.table(); }

  void fault(const TensorSpec& spec, const std::string& what) {
    if (faults_++ > 0) return;
    first_fault_ = spec;
    what_ = what;
  }

  // Sums of shards need them in their order.
  std::vector<Finding> findings_of_all(parallel::ProcessGroup& group) {
    std::vector<Finding> findings;
    if (demands_.shards() > 1) {
      for (size_t row = 0; row < table().size(); ++row) {
        findings.push_back(measure(row, child_.read_weight(row)));
      }
      return findings;
    }
    for (const auto& numbers :
         numbers_of_rows(child_, group, "proving: tensors of the child",
                         [&](size_t row, const at::Tensor&w) {
                           return measure(row, w).numbers();
                         })) {
      findings.push_back(Finding::of(numbers));
    }
    return findings;
  }

  const grow::TensorRecipe* recipe_of(size_t row) const {
    const bool has_one = row < recipe_.tensors.size() &&
                         recipe_.tensors[row].child == table()[row].name;
    return has_one ? &recipe_.tensors[row] : nullptr;
  }

  Finding measure(size_t row, const at::Tensor& weight) {
    Finding finding{.whole = is_whole(weight)};
    const grow::TensorRecipe* tensor = recipe_of(row);
    if (!finding.whole || tensor == nullptr) return finding;
    if (tensor->source == grow::Source::kFresh) {
      measure_fresh(row, *tensor, weight, finding);
    } else if (tensor->source != grow::Source::kParent) {
      finding.fault = fault_of_made(row, *tensor, weight);
    } else if (parent_row_.contains(tensor->parent)) {
      measure_copied(row, *tensor, weight, finding);
    }
    return finding;
  }

  void see(size_t row, const Finding& finding) {
    const TensorSpec& spec = table()[row];
    if (!finding.whole) fault(spec, "uninitialised or not finite");
    const grow::TensorRecipe* tensor = recipe_of(row);
    if (tensor == nullptr) return fault(spec, "no recipe");
    if (tensor->source == grow::Source::kParent) {
      used_.insert(tensor->parent);
      if (!finding.whole) return;
      if (!parent_row_.contains(tensor->parent)) {
        return fault(spec, "no parent");
      }
    }
    roundoff_ = std::max(roundoff_, finding.roundoff);
    if (finding.fault) {
      has_made_ = true;
      made_.see(*finding.fault, 1, spec);
    }
    if (finding.is_judged)
      see_distance(finding.distance, finding.roundoff, spec);
  }

  // Of the parent, with the noise that the child must show.
  Sketch sketch_for(const grow::TensorRecipe& tensor, size_t from) const {
    Sketch sketch = mean_sketch(tensor, from);
    const grow::AddedNoise* noise = added_noise(tensor);
    if (noise == nullptr || is_noise_on_copies(tensor)) return sketch;
    // The sketch is multiplied afterwards.
    return with_noise(std::move(sketch), parent_table_[from],
                      {noise->relative_std / factor_of(tensor), noise->stream},
                      recipe_.seed);
  }

  // The noise was added to what an earlier step of a chain had laid out.
  static bool is_noise_on_copies(const grow::TensorRecipe& tensor) {
    return !tensor.steps.empty() && added_noise(tensor.steps.back()) != nullptr;
  }

  // Of all that transforms multiply the parent's values by.
  static double factor_of(const grow::TensorRecipe& tensor) {
    double factor = 1;
    for (const grow::TransformPtr& transform : tensor.transforms) {
      factor *= transform->factor();
    }
    return factor;
  }

  // The mean of the models that the tensor is made of. (A dense layer's down,
  // which alone is kept by unit, is never a mean.)
  Sketch mean_sketch(const grow::TensorRecipe& tensor, size_t from) const {
    Sketch sketch = parents_.at(tensor.models.at(0)).at(from);
    if (tensor.models.size() == 1) return sketch;
    sketch.value = sketch.value.clone();
    for (size_t i = 1; i < tensor.models.size(); ++i) {
      sketch.value += parents_.at(tensor.models[i]).at(from).value;
    }
    sketch.value /= static_cast<double>(tensor.models.size());
    return sketch;
  }

  void measure_copied(size_t row, const grow::TensorRecipe& tensor,
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

  at::ScalarType stored_type(const grow::TensorRecipe& tensor,
                             size_t parent) const {
    return parents_.at(tensor.models.at(0)).at(parent).dtype;
  }

  // A tensor of a random layer, drawn once more from the seed: what the child
  // holds is that, laid out by the steps that came after it. Nothing is asked
  // where nobody knows the seed.
  void measure_fresh(size_t row, const grow::TensorRecipe& tensor,
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
    finding.roundoff = entry_roundoff(tensor.scale, weight.scalar_type(),
                                      weight.scalar_type());
    const TensorSpec from = spec_of_drawn(row, first);
    measure_against({sketch_of(from, drawn), from, stated}, row, laid_out,
                    weight, finding);
  }

  // The row as it was in the model that the tensor was drawn for.
  TensorSpec spec_of_drawn(size_t row, const grow::TensorRecipe& drawn) const {
    TensorSpec spec = table()[row];
    spec.name = drawn.child;
    if (find_row(table(), drawn.child) < 0) spec.expert = -1;  // of a dense one
    for (size_t i = 0; i < spec.dimensions.size(); ++i) {
      Dimension& dimension = spec.dimensions[i];
      dimension.count = drawn.shape[i] / dimension.block;
    }
    return spec;
  }

  // What a tensor is made of, and by how much that is multiplied.
  struct Origin {
    Sketch sketch;
    const TensorSpec& spec;
    double factor;
    const grow::AddedNoise* noise = nullptr;  // on copies
    double deviation = 0;
  };

  void measure_against(const Origin& origin, size_t row,
                       const grow::TensorRecipe& tensor,
                       const at::Tensor& weight, Finding& finding) {
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
    if (has_new_entries(tensor)) {
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
  double digits(size_t row, const grow::TensorRecipe& tensor) const {
    constexpr double kInexact = 1 / 3.0;
    return tensor.models.size() > 1 || added_noise(tensor) != nullptr
               ? kInexact
               : demands_.entry_factor(row);
  }

  static const grow::AddedNoise* added_noise(const grow::TensorRecipe& tensor) {
    for (const grow::TransformPtr& transform : tensor.transforms) {
      if (const grow::AddedNoise* noise = transform->added()) return noise;
    }
    return nullptr;
  }

  // A shard whose units have copies in the other shards of its dense layer:
  // those are the experts up to the next multiple of G.
  static bool is_part_of_a_sum(const Sketch& parent, const Demanded& demanded) {
    return parent.by_unit.defined() && demanded.child.expert >= 0 &&
           held_share(demanded, 1) < 1;
  }

  void see_distance(const SketchDistance& distance, double roundoff,
                    const TensorSpec& spec) {
    const double limit = sketch_limit(roundoff);
    (roundoff > 0 ? rounded_ : exact_).see(distance.kept, limit, spec);
    if (distance.drawn) see_drawn(*distance.drawn, limit, spec);
    if (distance.noise) see_noise(*distance.noise, roundoff, spec);
  }

  // Entries are off by up to their roundoff; six standard errors.
  void see_noise(double off, double roundoff, const TensorSpec& spec) {
    has_made_ = true;
    made_.see(off / (6 * std::max(kExactLimit, roundoff)), 1, spec);
  }

  // What is drawn anew is no longer the parent's.
  void see_drawn(double distance, double limit, const TensorSpec& spec) {
    has_made_ = true;
    made_.see(limit / distance, 1, spec);
  }

  // The dimension that a sketch of this tensor has an entry for.
  static size_t produced_dimension(const TensorSpec& spec) {
    return spec.dimensions[0].role == AxisRole::kContracted ? 1 : 0;
  }

  static bool has_new_entries(const grow::TensorRecipe& tensor) {
    return std::ranges::any_of(
        tensor.dimensions, [](const grow::DimensionRecipe& dimension) {
          return std::ranges::any_of(dimension.slices, &grow::Slice::is_new);
        });
  }

  double fault_of_made(size_t row, const grow::TensorRecipe& tensor,
                       const at::Tensor& weight) const {
    if (tensor.source == grow::Source::kZero) return zero_fault(weight);
    const at::Tensor mean = router_mean_.empty() || tensor.layer < 0
                                ? at::Tensor()
                                : router_mean_.at(tensor.layer);
    // The shards of one copy share a row.
    const auto equal_rows = static_cast<int64_t>(demands_.shards());
    return router_fault(tensor, weight, mean, equal_rows);
  }

  void account_for_parents() {
    for (const TensorSpec& spec : parent_table_) {
      if (!used_.contains(spec.name)) {
        fault(spec, "the child uses nothing of it");
      }
    }
    for (size_t row = table().size(); row < recipe_.tensors.size(); ++row) {
      fault({.name = recipe_.tensors[row].child}, "left over");
    }
  }

  Verdict accounts() const {
    Verdict verdict =
        at_most(kCheck, fmt::format("faults in {} tensors", table().size()),
                static_cast<double>(faults_), 0);
    verdict.tensor = first_fault_.name;
    verdict.layer = first_fault_.layer;
    verdict.note = what_;
    return verdict;
  }

  const std::vector<std::vector<Sketch>>& parents_;
  const grow::Recipe& recipe_;
  const Transformer& child_;
  const std::vector<at::Tensor>& router_mean_;
  Demands demands_;
  TensorTable parent_table_;
  std::unordered_map<std::string, size_t> parent_row_;
  std::set<std::string> used_;
  int64_t faults_ = 0;
  TensorSpec first_fault_;
  std::string what_;
  UnitSums shards_;  // of the dense layer that the audit is in the middle of
  Worst exact_;
  Worst rounded_;
  Worst made_;
  double roundoff_ = 0;
  bool has_made_ = false;
};

}  // namespace

std::vector<Verdict> tensor_audit(
    const std::vector<std::vector<Sketch>>& parents, const grow::Recipe& recipe,
    const Transformer& child, const std::vector<at::Tensor>& router_mean,
    parallel::ProcessGroup& group) {
  return Audit(parents, recipe, child, router_mean).run(group);
}

double storage_roundoff(const std::vector<Sketch>& parent,
                        const grow::Recipe& recipe, const Transformer& child) {
  const Demands demands(recipe);
  std::unordered_map<std::string, at::ScalarType> stored;
  for (const Sketch& sketch : parent) stored[sketch.name] = sketch.dtype;
  double largest = 0;
  for (size_t row = 0; row < recipe.tensors.size(); ++row) {
    const grow::TensorRecipe& tensor = recipe.tensors[row];
    if (tensor.source != grow::Source::kParent) continue;
    largest =
        std::max(largest, entry_roundoff(demands.entry_factor(row),
                                         stored.at(tensor.parent),
                                         child.weight(row).scalar_type()));
  }
  return largest;
}

}  // namespace annuli::verify
