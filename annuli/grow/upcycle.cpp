#include "annuli/grow/upcycle.h"

#include "annuli/core/error.h"

namespace annuli::grow {

AxisRule axis_rule(const UpcycleOptions& options) {
  AxisRule rule;
  rule.dense_to_experts = true;
  rule.new_router = options.router == RouterInit::kRandom
                        ? Source::kRandomRouter
                        : Source::kZero;
  rule.router_std = options.router_std;
  return rule;
}

Recipe Upcycle::recipe(const ModelConfig& parent, uint64_t seed) const {
  if (parent.is_mixture()) {
    user_error(
        "upcycling: the parent is a mixture of {} experts already, "
        "expected a dense model",
        parent.num_experts);
  }
  Recipe recipe;
  recipe.op = name();
  recipe.arguments = {
      {"num_experts", options_.num_experts},
      {"num_experts_per_tok", options_.num_experts_per_tok},
      {"router", options_.router == RouterInit::kRandom ? "random" : "zero"},
      {"router_std", options_.router_std}};
  recipe.seed = seed;
  recipe.parent = parent;
  recipe.child = parent;
  recipe.child.num_experts = options_.num_experts;
  recipe.child.num_experts_per_tok = options_.num_experts_per_tok;
  validate(recipe.child);
  derive(axis_rule(options_), recipe);
  return recipe;
}

}  // namespace annuli::grow
