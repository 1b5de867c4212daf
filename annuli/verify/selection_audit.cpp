#include "annuli/verify/selection_audit.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <utility>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/grow/apply.h"
#include "annuli/verify/axis_layout.h"
#include "annuli/verify/verdict.h"

namespace annuli::verify {
namespace {

constexpr double kFault = 2;  // of a limit, where there is no size

// 0 / 0 is no distance; NaN stays NaN.
double ratio(double found, double expected) {
  const double difference = std::abs(found - expected);
  return difference == 0 ? 0 : difference / std::abs(expected);
}

std::vector<double> numbers_of(const at::Tensor& tensor) {
  const at::Tensor plain =
      tensor.detach().to(at::kCPU, at::kDouble).contiguous();
  const auto* first = plain.const_data_ptr<double>();
  return {first, first + plain.numel()};
}

// What the recipe makes.
std::vector<double> stated(const grow::Recipe& recipe,
                           const grow::TensorRecipe& line,
                           const at::Tensor& parent, const at::Tensor& child) {
  std::vector<at::Tensor> parents;
  if (line.source == grow::Source::kParent) parents.push_back(parent);
  return numbers_of(
      grow::apply(line, parents, recipe.seed, child.scalar_type()));
}

// By expert of the parent, its copies, those of the greatest biases first.
std::map<int64_t, std::vector<size_t>> by_original(
    const grow::Recipe& recipe, const std::vector<double>& biases) {
  const std::vector<int64_t> original =
      sources(recipe.axis(Axis::kExpert, recipe.parent.num_experts));
  ANNULI_CHECK(original.size() == biases.size(), "{} biases of {} experts",
               biases.size(), original.size());
  std::map<int64_t, std::vector<size_t>> copies;
  for (size_t e = 0; e < biases.size(); ++e) copies[original[e]].push_back(e);
  for (auto& [expert, list] : copies) {
    std::ranges::stable_sort(list, std::greater<>(),
                             [&](size_t e) { return biases[e]; });
  }
  return copies;
}

}  // namespace

int64_t copies_of_experts(const grow::Recipe& recipe) {
  return recipe.parent.is_mixture()
             ? recipe.child.num_experts / recipe.parent.num_experts
             : 1;
}

int64_t open_copies(const grow::Recipe& recipe) {
  const int64_t copies = copies_of_experts(recipe);
  if (!recipe.exact || !recipe.parent.is_mixture()) return copies;
  return std::clamp<int64_t>(
      recipe.child.num_experts_per_tok / recipe.parent.num_experts_per_tok, 1,
      copies);
}

SelectionFinding selection_finding(const grow::Recipe& recipe,
                                   const grow::TensorRecipe& line,
                                   const at::Tensor& parent,
                                   const at::Tensor& child) {
  const bool from_dense = !recipe.parent.is_mixture();
  const auto copies = static_cast<double>(copies_of_experts(recipe));
  const int64_t open = open_copies(recipe);
  const std::vector<double> found = numbers_of(child);
  const std::vector<double> made = stated(recipe, line, parent, child);
  SelectionFinding finding;
  const auto compare = [&](size_t e, double expected) {
    finding.distance = worse(finding.distance, ratio(found[e], expected));
  };
  if (from_dense) {
    for (size_t e = 0; e < found.size(); ++e) compare(e, made[e]);
    return finding;
  }
  const std::vector<double> before =
      parent.defined() ? numbers_of(parent)
                       : std::vector<double>(recipe.parent.num_experts, 0);
  double least = std::numeric_limits<double>::infinity();
  double highest = -least;
  for (const auto& [expert, list] : by_original(recipe, found)) {
    for (size_t i = 0; i < list.size(); ++i) {
      const bool is_open = std::cmp_less(i, open);
      compare(list[i], is_open ? before.at(expert) / copies : made[list[i]]);
      double& bound = is_open ? least : highest;
      bound = is_open ? std::min(bound, found[list[i]])
                      : std::max(bound, found[list[i]]);
    }
  }
  if (highest == -std::numeric_limits<double>::infinity()) return finding;
  const double below = least - highest;
  finding.closed = below > 0 ? 1 / copies / below : kFault;
  return finding;
}

}  // namespace annuli::verify
