#include "annuli/verify/layer_pairs.h"

namespace annuli::verify {

std::vector<LayerPair> comparable_layers(const grow::Recipe& recipe) {
  std::vector<LayerPair> pairs;
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

}  // namespace annuli::verify
