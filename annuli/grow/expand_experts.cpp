#include "annuli/grow/expand_experts.h"

#include "annuli/grow/arguments.h"

namespace annuli::grow {
namespace {

constexpr double kLossBudget = 0.5;

}  // namespace

AxisRule axis_rule(const ExpandExpertsOptions& options,
                   const ModelConfig& parent, bool exact) {
  AxisRule rule;
  for (int64_t copy = 0; copy < options.factor; ++copy) {
    for (int64_t e = 0; e < parent.num_experts; ++e) {
      rule.experts.push_back({.parent = e});
    }
  }
  rule.axes[Axis::kExpert] = tile(parent.num_experts, options.factor);
  rule.carry_expert_state = exact;
  return rule;
}

Recipe ExpandExperts::recipe(const ModelConfig& parent, uint64_t seed) const {
  Recipe recipe = begin_recipe({.expand_experts = options_}, parent, seed);
  recipe.exact = recipe.child.num_experts_per_tok ==
                 parent.num_experts_per_tok * options_.factor;
  recipe.logit_budget = recipe.exact ? 0 : kLossBudget;
  derive(axis_rule(options_, parent, recipe.exact), recipe);
  return recipe;
}

}  // namespace annuli::grow
