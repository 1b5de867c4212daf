#include "annuli/grow/recipe.h"

#include <algorithm>
#include <cmath>

namespace annuli::grow {
namespace {

bool rounds(const TensorRecipe& tensor) {
  const auto by_itself = [](const TensorRecipe& step) {
    return step.source == Source::kParent &&
           (!is_power_of_two(step.scale) || step.models.size() > 1);
  };
  return tensor.steps.empty() ? by_itself(tensor)
                              : std::ranges::any_of(tensor.steps, by_itself);
}

}  // namespace

bool Recipe::has_noise() const {
  return std::ranges::any_of(
      tensors, [](const TensorRecipe& t) { return t.noise.has_value(); });
}

bool Recipe::needs_router_mean() const {
  return std::ranges::any_of(
      tensors, [](const TensorRecipe& t) { return t.needs_mean; });
}

std::vector<Slice> Recipe::axis(Axis axis, int64_t size) const {
  const auto found = axes.find(axis);
  return found == axes.end() ? std::vector<Slice>{{0, size}} : found->second;
}

bool TensorRecipe::is_identity() const {
  return source == Source::kParent && scale == 1 && !noise && !drop &&
         models.size() == 1 && steps.empty() &&
         std::all_of(dimensions.begin(), dimensions.end(), [&](const auto& d) {
           const size_t i = &d - dimensions.data();
           return d.slices == std::vector<Slice>{{0, shape[i]}} &&
                  d.copies == 1;
         });
}

bool is_power_of_two(double value) {
  int exponent = 0;
  return value > 0 && std::frexp(value, &exponent) == 0.5;
}

bool storage_breaks_exactness(const TensorRecipe& tensor,
                              at::ScalarType dtype) {
  return (dtype == at::kBFloat16 || dtype == at::kHalf) && rounds(tensor);
}

bool storage_breaks_exactness(const Recipe& recipe, at::ScalarType dtype) {
  return std::ranges::any_of(recipe.tensors, [&](const TensorRecipe& tensor) {
    return storage_breaks_exactness(tensor, dtype);
  });
}

Recipe without_noise(Recipe recipe) {
  for (TensorRecipe& tensor : recipe.tensors) {
    tensor.noise.reset();
    for (TensorRecipe& step : tensor.steps) step.noise.reset();
  }
  return recipe;
}

std::vector<std::pair<size_t, size_t>> noise_pairs(
    const std::vector<Slice>& slices) {
  std::vector<std::pair<size_t, size_t>> pairs;
  std::map<std::pair<int64_t, int64_t>, size_t> waiting;
  for (size_t i = 0; i < slices.size(); ++i) {
    if (slices[i].is_new()) continue;
    const auto key = std::pair(slices[i].start, slices[i].length);
    const auto [first, fresh] = waiting.try_emplace(key, i);
    if (fresh) continue;
    pairs.emplace_back(first->second, i);
    waiting.erase(first);
  }
  return pairs;
}

}  // namespace annuli::grow
