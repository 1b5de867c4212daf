#include "annuli/verify/layer_pairs.h"

#include <algorithm>

#include "annuli/verify/axis_layout.h"

namespace annuli::verify {
namespace {

bool is_drawn_or_merged(const grow::TensorRecipe& tensor) {
  if (tensor.source != grow::Source::kParent) return false;
  if (tensor.models != std::vector<int64_t>{0}) return true;
  return std::ranges::any_of(tensor.transforms, [&](const auto& transform) {
    return transform->changes_layer(tensor);
  });
}

// m copies of every expert keep the function if m times as many are chosen;
// the shards of a dense layer if all of one copy's are.
bool chooses_otherwise(const grow::Recipe& recipe) {
  if (is_upcycle(recipe)) {
    return recipe.child.num_experts_per_tok % shards_of(recipe) != 0;
  }
  return recipe.parent.is_mixture() &&
         recipe.child.num_experts * recipe.parent.num_experts_per_tok !=
             recipe.parent.num_experts * recipe.child.num_experts_per_tok;
}

// Queries and keys by other angles.
bool turns_otherwise(const grow::Recipe& recipe) {
  return recipe.parent.rope_theta != recipe.child.rope_theta ||
         recipe.parent.rope_scaling != recipe.child.rope_scaling;
}

}  // namespace

std::vector<LayerPair> comparable_layers(const grow::Recipe& recipe) {
  std::vector<LayerPair> pairs;
  if (!recipe.exact &&
      (chooses_otherwise(recipe) || turns_otherwise(recipe) ||
       std::ranges::any_of(recipe.tensors, is_drawn_or_merged))) {
    return pairs;
  }
  for (size_t layer = 0; layer < recipe.layer_map.size(); ++layer) {
    if (recipe.layer_is_mapped[layer]) {
      pairs.push_back({static_cast<int64_t>(layer), recipe.layer_map[layer]});
    } else if (!recipe.exact) {
      break;
    }
  }
  return pairs;
}

bool is_upcycle(const grow::Recipe& recipe) {
  return !recipe.parent.is_mixture() && recipe.child.is_mixture();
}

bool makes_gates(const grow::Recipe& recipe) {
  return recipe.child.is_mixture() &&
         recipe.child.num_experts_per_tok != recipe.parent.num_experts_per_tok;
}

int64_t shards_of(const grow::Recipe& recipe) {
  return is_upcycle(recipe) ? recipe.expert_shards : 1;
}

bool is_plain_upcycle(const grow::Recipe& recipe) {
  const bool full_copies =
      recipe.child.intermediate_size == recipe.parent.intermediate_size &&
      !recipe.child.has_shared_expert();
  return is_upcycle(recipe) && recipe.exact && full_copies &&
         keeps_axes(recipe);
}

bool keeps_every_tensor(const grow::Recipe& recipe) {
  return recipe.parent.is_mixture() == recipe.child.is_mixture() &&
         keeps_axes(recipe);
}

}  // namespace annuli::verify
