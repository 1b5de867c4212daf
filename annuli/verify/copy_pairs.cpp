#include "annuli/verify/copy_pairs.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/linalg_eigvalsh.h>
#include <ATen/ops/mm.h>

#include <algorithm>
#include <cmath>
#include <map>

namespace annuli::verify {
namespace {

constexpr int64_t kEntries = int64_t{1} << 21;  // 16 MB of fp64

}  // namespace

std::vector<std::pair<at::Tensor, at::Tensor>> copy_pairs(
    const at::Tensor& tensor, const grow::DimensionRecipe& recipe,
    int64_t dimension) {
  std::vector<std::pair<at::Tensor, at::Tensor>> pairs;
  // Where a slice's copy without a partner begins.
  std::map<std::pair<int64_t, int64_t>, int64_t> waiting;
  int64_t begin = 0;
  for (const grow::Slice& slice : recipe.slices) {
    const int64_t at = begin;
    begin += slice.length;
    if (slice.is_new()) continue;
    const auto [first, is_first] =
        waiting.try_emplace({slice.start, slice.length}, at);
    if (is_first) continue;
    pairs.emplace_back(tensor.narrow(dimension, first->second, slice.length),
                       tensor.narrow(dimension, at, slice.length));
    waiting.erase(first);
  }
  return pairs;
}

PairPower pair_power(const at::Tensor& matrix,
                     const grow::DimensionRecipe& recipe, int64_t dimension) {
  PairPower power;
  for (const auto& [a, b] : copy_pairs(matrix, recipe, dimension)) {
    const int64_t count = std::max<int64_t>(1, kEntries / a.size(1));
    for (int64_t begin = 0; begin < a.size(0); begin += count) {
      const int64_t rows = std::min(count, a.size(0) - begin);
      const at::Tensor x = a.narrow(0, begin, rows).to(at::kDouble);
      const at::Tensor y = b.narrow(0, begin, rows).to(at::kDouble);
      power.sum += std::pow((x + y).norm().item<double>(), 2);
      power.difference += std::pow((x - y).norm().item<double>(), 2);
    }
  }
  return power;
}

double antisymmetric_share(const at::Tensor& matrix,
                           const grow::TensorRecipe& recipe) {
  const PairPower power = pair_power(matrix, recipe.dimensions[0], 0);
  return power.sum > 0 ? std::sqrt(power.difference / power.sum) : 0;
}

double difference_structure(const at::Tensor& matrix,
                            const grow::TensorRecipe& recipe) {
  std::vector<at::Tensor> differences;
  for (const auto& [a, b] : copy_pairs(matrix, recipe.dimensions[0], 0)) {
    differences.push_back(a - b);
  }
  const at::Tensor all = at::cat(differences).to(at::kDouble);
  const double deviation =
      all.norm().item<double>() / std::sqrt(static_cast<double>(all.numel()));
  if (deviation == 0) return 0;
  const double of_noise =
      deviation * (std::sqrt(static_cast<double>(all.size(0))) +
                   std::sqrt(static_cast<double>(all.size(1))));
  const double squared = squared_singular_values(all).max().item<double>();
  return std::sqrt(squared) / of_noise;
}

at::Tensor squared_singular_values(const at::Tensor& matrix) {
  const at::Tensor d = matrix.to(at::kDouble);
  const bool wide = d.size(0) <= d.size(1);
  return at::linalg_eigvalsh(wide ? at::mm(d, d.t()) : at::mm(d.t(), d));
}

// Copies without a gradient, as router rows of closed experts are, are not
// among `produced_copies`.
bool is_grown_matrix(const grow::TensorRecipe& recipe) {
  return recipe.source == grow::Source::kParent &&
         recipe.dimensions.size() == 2 && recipe.dimensions[0].copies > 1 &&
         recipe.contracted_copies > 1 &&
         recipe.produced_copies % recipe.dimensions[0].copies == 0;
}

}  // namespace annuli::verify
