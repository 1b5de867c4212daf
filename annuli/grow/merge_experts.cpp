#include "annuli/grow/merge_experts.h"

#include "annuli/grow/arguments.h"
#include "annuli/grow/upcycle.h"

namespace annuli::grow {
namespace {

// The mean of models that trained apart is far from each of them.
constexpr double kLossBudget = 2;

}  // namespace

AxisRule axis_rule(const MergeExpertsOptions& options) {
  AxisRule rule;
  rule.models = static_cast<int64_t>(options.with.size()) + 1;
  for (int64_t model = 0; model < rule.models; ++model) {
    rule.experts.push_back({.model = model});
  }
  rule.router = router_rule(options.router, options.router_std);
  rule.carry_state = false;
  return rule;
}

Recipe MergeExperts::recipe(const ModelConfig& parent, uint64_t seed) const {
  Recipe recipe = begin_recipe({.merge_experts = options_}, parent, seed);
  recipe.exact = false;
  recipe.logit_budget = kLossBudget;
  derive(axis_rule(options_), recipe);
  return recipe;
}

}  // namespace annuli::grow
