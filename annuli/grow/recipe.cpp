#include "annuli/grow/recipe.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/grow/transforms/noise.h"
#include "annuli/grow/transforms/random_router.h"

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
  return std::ranges::any_of(tensors, [](const TensorRecipe& t) {
    return t.find<Noise>() != nullptr;
  });
}

bool Recipe::needs_router_mean() const {
  return std::ranges::any_of(tensors, [](const TensorRecipe& t) {
    const auto* router = t.find<RandomRouter>();
    return router != nullptr && (router->needs_mean || router->centroids);
  });
}

int64_t Recipe::router_centroids() const {
  for (const TensorRecipe& tensor : tensors) {
    const TensorRecipe& first =
        tensor.steps.empty() ? tensor : tensor.steps.front();
    const auto* router = first.find<RandomRouter>();
    if (router != nullptr && router->centroids) return first.shape.at(0);
  }
  return 0;
}

std::vector<Slice> Recipe::axis(Axis axis, int64_t size) const {
  const auto found = axes.find(axis);
  return found == axes.end() ? std::vector<Slice>{{0, size}} : found->second;
}

bool TensorRecipe::is_identity() const {
  return source == Source::kParent && scale == 1 && transforms.empty() &&
         models.size() == 1 && steps.empty() &&
         std::all_of(dimensions.begin(), dimensions.end(), [&](const auto& d) {
           const size_t i = &d - dimensions.data();
           return d.slices == std::vector<Slice>{{0, shape[i]}} &&
                  d.copies == 1;
         });
}

bool TensorRecipe::has_new_entries() const {
  return std::ranges::any_of(dimensions, [](const DimensionRecipe& d) {
    return std::ranges::any_of(d.slices, &Slice::is_new);
  });
}

void TensorRecipe::set(TransformPtr transform) {
  const auto rank = [](const TransformPtr& of) {
    const auto& kinds = transform_kinds();
    const auto kind = std::ranges::find_if(kinds, [&](const auto& known) {
      return std::string_view(known.name) == of->name();
    });
    ANNULI_CHECK(kind != kinds.end(), "no kind of transform is '{}'",
                 of->name());
    return kind - kinds.begin();
  };
  const auto place =
      std::ranges::lower_bound(transforms, rank(transform), {}, rank);
  if (place != transforms.end() && rank(*place) == rank(transform)) {
    *place = std::move(transform);
  } else {
    transforms.insert(place, std::move(transform));
  }
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
    tensor.remove<Noise>();
    for (TensorRecipe& step : tensor.steps) step.remove<Noise>();
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
