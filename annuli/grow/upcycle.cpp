#include "annuli/grow/upcycle.h"

#include <cmath>

#include "annuli/grow/arguments.h"

namespace annuli::grow {
namespace {

// Half of the units drawn anew cost more than a layer too many (measured in
// docs/operators.md); what is left is to be better than random.
constexpr double kLossBudget = 2;

bool is_exact(const UpcycleOptions& options) {
  if (options.drop_ratio > 0) return false;
  return options.shared_expert ||
         options.num_experts_per_tok % options.granularity == 0;
}

// Copy by copy, shard by shard.
void set_shards(const UpcycleOptions& options, int64_t units, AxisRule& rule) {
  const int64_t G = options.granularity;
  for (int64_t copy = 0; copy < options.num_experts; ++copy) {
    for (int64_t shard = 0; shard < G; ++shard) {
      ExpertRule expert;
      if (G > 1) expert.ffn = {{shard * units / G, units / G}};
      rule.experts.push_back(expert);
      if (G > 1) rule.router.rows.push_back({copy, 1});
    }
  }
}

}  // namespace

RouterRule router_rule(RouterInit router, double std) {
  if (router == RouterInit::kZero) return {.source = Source::kZero};
  return {.source = Source::kRandomRouter,
          .std = std,
          .needs_mean = router == RouterInit::kMeanOrthogonal};
}

AxisRule axis_rule(const UpcycleOptions& options, const ModelConfig& parent) {
  AxisRule rule;
  rule.router = router_rule(options.router, options.router_std);
  set_shards(options, parent.intermediate_size, rule);
  rule.drop_ratio = options.drop_ratio;
  rule.zero_routed_outputs = options.shared_expert;
  const auto G = static_cast<double>(options.granularity);
  if (options.shard_scale == ShardScale::kUpAndDown) {
    rule.up_scale = rule.down_scale = std::sqrt(G);
  } else {
    rule.down_scale = G;
  }
  return rule;
}

Recipe Upcycle::recipe(const ModelConfig& parent, uint64_t seed) const {
  Recipe recipe = begin_recipe({.upcycle = options_}, parent, seed);
  recipe.exact = is_exact(options_);
  recipe.logit_budget = recipe.exact ? 0 : kLossBudget;
  derive(axis_rule(options_, parent), recipe);
  return recipe;
}

}  // namespace annuli::grow
