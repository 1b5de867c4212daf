#include "annuli/grow/deepen.h"

#include "annuli/config/grown_shape.h"
#include "annuli/grow/arguments.h"

namespace annuli::grow {
namespace {

// What a step that preserves nothing may cost at once, in nats, unless the plan
// says otherwise.
constexpr double kLossBudget = 0.5;

}  // namespace

AxisRule axis_rule(const DeepenOptions& options,
                   const std::vector<int64_t>& layers) {
  AxisRule rule;
  int64_t next = 0;
  for (int64_t layer : layers) {
    const bool is_new = layer < next;
    if (!is_new) ++next;
    rule.layers.push_back({layer, is_new});
  }
  rule.zero_new_outputs = options.outputs == DeepenOutputs::kZero;
  return rule;
}

Recipe Deepen::recipe(const ModelConfig& parent, uint64_t seed) const {
  Recipe recipe = begin_recipe({.deepen = options_}, parent, seed);
  const AxisRule rule = axis_rule(
      options_,
      layer_map(options_, parent.num_hidden_layers, complain_of_growth));
  const bool grows = recipe.child.num_hidden_layers > parent.num_hidden_layers;
  recipe.exact = rule.zero_new_outputs || !grows;
  recipe.logit_budget = recipe.exact ? 0 : kLossBudget;
  derive(rule, recipe);
  return recipe;
}

}  // namespace annuli::grow
