#include "annuli/verify/tensor_audit.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>
#include <string>
#include <unordered_map>

#include "annuli/verify/demands.h"
#include "annuli/verify/tensor_finding.h"

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
      : recipe_(recipe),
        child_(child),
        measure_(parents, recipe, child, router_mean) {}

  std::vector<Verdict> run(parallel::ProcessGroup& group) {
    const std::vector<Finding> findings = measure_.of_all(group);
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

  void see(size_t row, const Finding& finding) {
    const TensorSpec& spec = table()[row];
    if (!finding.whole) fault(spec, "uninitialised or not finite");
    const grow::TensorRecipe* tensor = measure_.recipe_of(row);
    if (tensor == nullptr) return fault(spec, "no recipe");
    if (tensor->source == grow::Source::kParent) {
      used_.insert(tensor->parent);
      if (!finding.whole) return;
      if (!measure_.has_parent(tensor->parent)) {
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

  void account_for_parents() {
    for (const TensorSpec& spec : measure_.parent_table()) {
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

  const grow::Recipe& recipe_;
  const Transformer& child_;
  TensorMeasure measure_;
  std::set<std::string> used_;
  int64_t faults_ = 0;
  TensorSpec first_fault_;
  std::string what_;
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
    // They choose, and compute nothing.
    if (demands.table()[row].part == Part::kSelectionBias) continue;
    largest =
        std::max(largest, entry_roundoff(demands.entry_factor(row),
                                         stored.at(tensor.parent),
                                         child.weight(row).scalar_type()));
  }
  return largest;
}

}  // namespace annuli::verify
