#include "annuli/verify/copy_pairs.h"

#include <ATen/TensorOperators.h>

#include <cmath>

namespace annuli::verify {

std::vector<std::pair<at::Tensor, at::Tensor>> copy_pairs(
    const at::Tensor& tensor, const grow::DimensionRecipe& recipe,
    int64_t dimension) {
  std::vector<std::pair<at::Tensor, at::Tensor>> pairs;
  if (recipe.copies < 2) return pairs;
  const int64_t width = tensor.size(dimension) / recipe.copies;
  for (int64_t copy = 0; copy + 1 < recipe.copies; copy += 2) {
    pairs.emplace_back(tensor.narrow(dimension, copy * width, width),
                       tensor.narrow(dimension, (copy + 1) * width, width));
  }
  return pairs;
}

double antisymmetric_share(const at::Tensor& matrix,
                           const grow::TensorRecipe& recipe) {
  double difference = 0;
  double sum = 0;
  for (const auto& [a, b] : copy_pairs(matrix, recipe.dimensions[0], 0)) {
    difference += std::pow((a - b).norm().item<double>(), 2);
    sum += std::pow((a + b).norm().item<double>(), 2);
  }
  return sum > 0 ? std::sqrt(difference / sum) : 0;
}

bool is_grown_matrix(const grow::TensorRecipe& recipe) {
  return recipe.source == grow::Source::kParent &&
         recipe.dimensions.size() == 2 && recipe.produced_copies > 1 &&
         recipe.contracted_copies > 1;
}

}  // namespace annuli::verify
