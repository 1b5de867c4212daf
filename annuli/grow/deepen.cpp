#include "annuli/grow/deepen.h"

#include "annuli/config/grown_shape.h"

namespace annuli::grow {
namespace {

// What a step that preserves nothing may cost at once, in nats, unless the plan
// says otherwise.
constexpr double kLossBudget = 0.5;

}  // namespace

GrowthRule deepen_rule(const DeepenOptions& options, const ModelConfig& parent,
                       const ModelConfig& child) {
  GrowthRule growth;
  AxisRule& rule = growth.axes;
  int64_t next = 0;
  for (const int64_t layer :
       layer_map(options, parent.num_hidden_layers, complain_of_growth)) {
    const bool is_new = layer < next;
    if (!is_new) ++next;
    rule.layers.push_back({layer, is_new});
  }
  rule.random_new_layers = options.weights == LayerSource::kRandom;
  rule.zero_new_outputs = options.outputs == DeepenOutputs::kZero;
  const bool grows = child.num_hidden_layers > parent.num_hidden_layers;
  growth.exact = rule.zero_new_outputs || !grows;
  growth.loss_budget = kLossBudget;
  return growth;
}

}  // namespace annuli::grow
