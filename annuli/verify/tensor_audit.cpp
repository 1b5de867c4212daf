#include "annuli/verify/tensor_audit.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>
#include <fmt/core.h>

#include <cmath>
#include <limits>
#include <set>
#include <string>

namespace annuli::verify {
namespace {

constexpr const char* kCheck = "tensor_audit";

// What the axes demand of a copied tensor, whatever scale the recipe states:
// produced entries are copied and contracted ones average out, so its function
// on r is the parent's. The one exception is the final gain of a model whose
// head stays tied while the residual is copied n times: it carries 1/n.
double demanded_factor(const grow::Recipe& recipe, const TensorSpec& spec) {
  const bool folded =
      recipe.parent.tie_word_embeddings && recipe.child.tie_word_embeddings;
  return folded && spec.part == Part::kFinalNorm
             ? 1.0 / static_cast<double>(recipe.width_factor)
             : 1.0;
}

// Pairs cancel exactly and 1/2^k is exact, so all that is left is the rounding
// of the fp64 dot product of C terms: C * 2^-53, below 1e-11 for C <= 65536
// against the rms of the result, noise of 0.3 of the weight included. Any other
// factor rounds each stored entry by eps/2 of itself; over C terms that is
// eps/2 of the rms on average, and its largest of P entries below 8 times that.
double sketch_limit(const grow::Recipe& recipe, at::ScalarType dtype) {
  const auto n = static_cast<uint64_t>(recipe.width_factor);
  const bool power_of_two = (n & (n - 1)) == 0;
  if (power_of_two || dtype == at::kDouble) return 1e-11;
  return 4 * std::numeric_limits<float>::epsilon();
}

bool is_whole(const at::Tensor& tensor) {
  return tensor.defined() && at::isfinite(tensor).all().item<bool>();
}

void fault(Verdict& verdict, const TensorSpec& spec, const std::string& what) {
  verdict.measured += 1;
  if (!verdict.tensor.empty()) return;
  verdict.tensor = spec.name;
  verdict.layer = spec.layer;
  verdict.note = what;
}

Verdict accounts(const grow::Recipe& recipe, const Transformer& child) {
  Verdict verdict;
  const TensorTable& table = child.table();
  std::set<std::string> used;
  for (size_t row = 0; row < table.size(); ++row) {
    const TensorSpec& spec = table[row];
    if (row >= recipe.tensors.size() ||
        recipe.tensors[row].child != spec.name) {
      fault(verdict, spec, "no recipe");
    } else {
      used.insert(recipe.tensors[row].parent);
    }
    if (!is_whole(child.weight(row))) {
      fault(verdict, spec, "uninitialised or not finite");
    }
  }
  for (const TensorSpec& spec : tensor_table(recipe.parent)) {
    if (!used.contains(spec.name)) {
      fault(verdict, spec, "the child uses nothing of it");
    }
  }
  for (size_t row = table.size(); row < recipe.tensors.size(); ++row) {
    fault(verdict, {.name = recipe.tensors[row].child}, "left over");
  }
  Verdict result =
      at_most(kCheck, fmt::format("faults in {} tensors", table.size()),
              verdict.measured, 0);
  result.tensor = verdict.tensor;
  result.layer = verdict.layer;
  result.note = verdict.note;
  return result;
}

Verdict copies(const std::vector<Sketch>& parent, const grow::Recipe& recipe,
               const Transformer& child) {
  const TensorTable parent_table = tensor_table(recipe.parent);
  const double limit = sketch_limit(recipe, child.dtype());
  double worst = 0;
  const TensorSpec* first_bad = nullptr;
  for (size_t row = 0; row < child.table().size(); ++row) {
    const grow::TensorRecipe& tensor = recipe.tensors[row];
    if (tensor.source != grow::Source::kParent) continue;
    const TensorSpec& spec = child.table()[row];
    const int64_t from = find_row(parent_table, tensor.parent);
    const double distance =
        sketch_distance(parent[from], parent_table[from], tensor, spec,
                        child.weight(row), demanded_factor(recipe, spec));
    if (!(distance <= limit) && first_bad == nullptr) first_bad = &spec;
    worst = worse(worst, distance);
  }
  Verdict verdict =
      at_most(kCheck, "copied tensors against the parent's", worst, limit);
  if (first_bad != nullptr) {
    verdict.tensor = first_bad->name;
    verdict.layer = first_bad->layer;
  }
  return verdict;
}

// |cos| of the worst row with the mean activation.
double mean_overlap(const at::Tensor& router, const at::Tensor& mean) {
  const at::Tensor rows = router.cpu().to(at::kDouble);
  const at::Tensor unit = mean.cpu().to(at::kDouble);
  const at::Tensor norms = rows.norm(2, {1}) * unit.norm();
  return (rows.mv(unit) / norms).abs().max().item<double>();
}

// A router of n = E D normal entries has an rms within 6 standard errors,
// 6 / sqrt(2 n), of std; the direction taken out of every row lowers it by
// 1 / (2 D) at most, relative. A deviation of 0 is one that nobody stated.
double deviation_off(const at::Tensor& router, double asked) {
  if (asked == 0) return 0;
  const auto n = static_cast<double>(router.numel());
  const auto D = static_cast<double>(router.size(1));
  const double rms = router.norm().item<double>() / std::sqrt(n);
  return std::abs(rms / asked - 1) / (6 / std::sqrt(2 * n) + 1 / (2 * D));
}

// Zeros are exactly 0; a router has its deviation and, stored in fp32, keeps an
// overlap with the mean below D * eps / 2. Measured in units of those limits.
Verdict made(const grow::Recipe& recipe, const Transformer& child,
             const std::vector<at::Tensor>& router_mean) {
  double worst = 0;
  const TensorSpec* first_bad = nullptr;
  for (size_t row = 0; row < child.table().size(); ++row) {
    const grow::TensorRecipe& tensor = recipe.tensors[row];
    if (tensor.source == grow::Source::kParent) continue;
    const TensorSpec& spec = child.table()[row];
    const at::Tensor& weight = child.weight(row);
    double distance = 0;
    if (tensor.source == grow::Source::kZero) {
      distance = weight.abs().max().item<double>() == 0 ? 0 : 2;
    } else {
      distance = deviation_off(weight, tensor.router_std);
      if (!router_mean.empty()) {
        const auto D = static_cast<double>(weight.size(1));
        const double overlap = mean_overlap(weight, router_mean[spec.layer]);
        distance =
            worse(distance,
                  overlap / (D * std::numeric_limits<float>::epsilon() / 2));
      }
    }
    if (!(distance <= 1) && first_bad == nullptr) first_bad = &spec;
    worst = worse(worst, distance);
  }
  Verdict verdict =
      at_most(kCheck, "new tensors, in units of their limits", worst, 1);
  if (first_bad != nullptr) {
    verdict.tensor = first_bad->name;
    verdict.layer = first_bad->layer;
  }
  return verdict;
}

bool makes_tensors(const grow::Recipe& recipe) {
  for (const grow::TensorRecipe& tensor : recipe.tensors) {
    if (tensor.source != grow::Source::kParent) return true;
  }
  return false;
}

}  // namespace

std::vector<Verdict> tensor_audit(const std::vector<Sketch>& parent,
                                  const grow::Recipe& recipe,
                                  const Transformer& child,
                                  const std::vector<at::Tensor>& router_mean) {
  std::vector<Verdict> verdicts = {accounts(recipe, child)};
  if (!verdicts.back().passed) return verdicts;
  verdicts.push_back(copies(parent, recipe, child));
  if (makes_tensors(recipe)) {
    verdicts.push_back(made(recipe, child, router_mean));
  }
  return verdicts;
}

}  // namespace annuli::verify
