#include "annuli/grow/upcycle.h"

#include <fmt/core.h>

#include <cmath>

#include "annuli/core/rng.h"
#include "annuli/grow/transforms/drop.h"

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
  rule.expert_shards = G;
  for (int64_t copy = 0; copy < options.num_experts; ++copy) {
    for (int64_t shard = 0; shard < G; ++shard) {
      ExpertRule expert;
      if (G > 1) expert.ffn = {{shard * units / G, units / G}};
      rule.experts.push_back(expert);
      if (G > 1) rule.router.rows.push_back({copy, 1});
    }
  }
}

// This share of each expert's units drawn anew.
TransformRule dropped_share(double ratio) {
  return [ratio](const TensorSpec& child, const TensorRecipe&) -> TransformPtr {
    if (child.expert < 0) return nullptr;
    for (size_t i = 0; i < child.dimensions.size(); ++i) {
      if (child.dimensions[i].axis != Axis::kFfn) continue;
      return std::make_shared<Drop>(
          ratio, static_cast<int64_t>(i),
          stream_id(fmt::format("grow/drop/{}/{}", child.layer, child.expert)));
    }
    return nullptr;
  };
}

}  // namespace

RouterRule router_rule(RouterInit router, double std) {
  if (router == RouterInit::kZero) return {.source = Source::kZero};
  return {.source = Source::kRandomRouter,
          .std = std,
          .needs_mean = router == RouterInit::kMeanOrthogonal,
          .centroids = router == RouterInit::kCentroids};
}

GrowthRule upcycle_rule(const UpcycleOptions& options,
                        const ModelConfig& parent, const ModelConfig& child) {
  GrowthRule growth{.exact = is_exact(options), .loss_budget = kLossBudget};
  AxisRule& rule = growth.axes;
  rule.router = router_rule(options.router, options.router_std);
  set_shards(options, parent.intermediate_size, rule);
  rule.zero_routed_outputs = options.shared_expert;
  const auto G = static_cast<double>(options.granularity);
  if (options.shard_scale == ShardScale::kUpAndDown) {
    rule.up_scale = rule.down_scale = std::sqrt(G);
  } else {
    rule.down_scale = G;
  }
  if (options.drop_ratio > 0) {
    rule.transforms.push_back(dropped_share(options.drop_ratio));
  }
  return growth;
}

}  // namespace annuli::grow
