#include "annuli/grow/axis_rule.h"

#include <numeric>

#include "annuli/core/error.h"
#include "annuli/grow/deriver.h"

namespace annuli::grow {
namespace {

AxisRule with_layers(AxisRule rule, const Recipe& recipe) {
  if (rule.layers.empty()) {
    for (int64_t l = 0; l < recipe.parent.num_hidden_layers; ++l) {
      rule.layers.push_back({l});
    }
  }
  ANNULI_CHECK(static_cast<int64_t>(rule.layers.size()) ==
                   recipe.child.num_hidden_layers,
               "the rule of {} has {} layers for a child of {}", recipe.op,
               rule.layers.size(), recipe.child.num_hidden_layers);
  return rule;
}

}  // namespace

std::vector<Slice> tile(int64_t size, int64_t copies) {
  return std::vector<Slice>(copies, Slice{0, size});
}

int64_t copies_of(const std::vector<Slice>& slices) {
  std::map<int64_t, int64_t> change;  // of the count, at each entry
  for (const Slice& slice : slices) {
    if (slice.is_new()) continue;
    ++change[slice.start];
    --change[slice.start + slice.length];
  }
  int64_t copies = 1;
  bool found = false;
  int64_t count = 0;
  for (const auto& [entry, step] : change) {
    count += step;
    if (count == 0) continue;
    ANNULI_CHECK(!found || count == copies, "entry {}: {} copies, others {}",
                 entry, count, copies);
    copies = count;
    found = true;
  }
  return copies;
}

void derive(const AxisRule& partial_rule, Recipe& recipe) {
  const AxisRule rule = with_layers(partial_rule, recipe);
  recipe.layer_map.clear();
  recipe.layer_is_mapped.clear();
  for (const LayerRule& layer : rule.layers) {
    recipe.layer_map.push_back(layer.parent);
    recipe.layer_is_mapped.push_back(!layer.is_new);
  }
  recipe.axes = rule.axes;
  recipe.experts = rule.experts;
  recipe.models = rule.models;
  recipe.expert_shards = rule.expert_shards;
  recipe.width_factor =
      copies_of(recipe.axis(Axis::kResidual, recipe.parent.hidden_size));
  recipe.tensors.clear();
  const Deriver deriver(rule, recipe);
  for (const TensorSpec& spec : tensor_table(recipe.child)) {
    recipe.tensors.push_back(deriver.tensor(spec));
  }
}

}  // namespace annuli::grow
