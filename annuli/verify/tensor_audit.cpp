#include "annuli/verify/tensor_audit.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>
#include <fmt/core.h>

#include <algorithm>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

#include "annuli/core/error.h"
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

  std::vector<Verdict> run() {
    for (size_t row = 0; row < table().size(); ++row) see(row);
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

  void see(size_t row) {
    const TensorSpec& spec = table()[row];
    const at::Tensor weight = child_.read_weight(row);
    const bool whole = is_whole(weight);
    if (!whole) fault(spec, "uninitialised or not finite");
    if (row >= recipe_.tensors.size() ||
        recipe_.tensors[row].child != spec.name) {
      return fault(spec, "no recipe");
    }
    const grow::TensorRecipe& tensor = recipe_.tensors[row];
    if (tensor.source == grow::Source::kParent) {
      used_.insert(tensor.parent);
      if (whole) see_copied(row, tensor, weight);
    } else if (whole) {
      see_made(row, tensor, weight);
    }
  }

  // Of the parent, with the noise that the child must show.
  Sketch sketch_for(const grow::TensorRecipe& tensor, size_t from) const {
    Sketch sketch = mean_sketch(tensor, from);
    const grow::AddedNoise* noise = added_noise(tensor);
    return noise == nullptr ? sketch
                            : with_noise(std::move(sketch), parent_table_[from],
                                         *noise, recipe_.seed);
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

  void see_copied(size_t row, const grow::TensorRecipe& tensor,
                  const at::Tensor& weight) {
    const auto found = parent_row_.find(tensor.parent);
    if (found == parent_row_.end()) return fault(table()[row], "no parent");
    const Sketch sketch = sketch_for(tensor, found->second);
    const TensorSpec& from = parent_table_[found->second];
    const Demanded demanded{
        .parent = from,
        .recipe = tensor,
        .child = table()[row],
        .factor = demands_.factor(row),
        .new_produced_is_zero =
            demands_.new_entries_are_zero(row, produced_dimension(from)),
        .seed = recipe_.seed};
    const double roundoff =
        entry_roundoff(digits(row, tensor), sketch.dtype, weight.scalar_type());
    roundoff_ = std::max(roundoff_, roundoff);
    see_new_entries(row, tensor, weight);
    if (!is_part_of_a_sum(sketch, demanded)) {
      return see_distance(sketch_distance(sketch, demanded, weight), roundoff,
                          table()[row]);
    }
    shards_.add(sketch, demanded, weight);
    const auto shards = static_cast<int64_t>(demands_.shards());
    if ((table()[row].expert + 1) % shards != 0) return;
    see_distance(shards_.distance(), roundoff, table()[row]);
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

  void see_new_entries(size_t row, const grow::TensorRecipe& tensor,
                       const at::Tensor& weight) {
    for (const grow::DimensionRecipe& d : tensor.dimensions) {
      if (std::ranges::any_of(d.slices, &grow::Slice::is_new)) {
        has_made_ = true;
        made_.see(new_entries_fault(demands_, row, tensor, weight), 1,
                  table()[row]);
        return;
      }
    }
  }

  void see_made(size_t row, const grow::TensorRecipe& tensor,
                const at::Tensor& weight) {
    has_made_ = true;
    const TensorSpec& spec = table()[row];
    if (tensor.source == grow::Source::kZero) {
      return made_.see(zero_fault(weight), 1, spec);
    }
    const at::Tensor mean = router_mean_.empty() || tensor.layer < 0
                                ? at::Tensor()
                                : router_mean_.at(tensor.layer);
    // The shards of one copy share a row.
    const auto equal_rows = static_cast<int64_t>(demands_.shards());
    made_.see(router_fault(tensor, weight, mean, equal_rows), 1, spec);
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
    const Transformer& child, const std::vector<at::Tensor>& router_mean) {
  return Audit(parents, recipe, child, router_mean).run();
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
