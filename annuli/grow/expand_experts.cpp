#include "annuli/grow/expand_experts.h"

namespace annuli::grow {
namespace {

constexpr double kLossBudget = 0.5;

}  // namespace

GrowthRule expand_experts_rule(const ExpandExpertsOptions& options,
                               const ModelConfig& parent,
                               const ModelConfig& child) {
  GrowthRule growth;
  growth.exact =
      child.num_experts_per_tok == parent.num_experts_per_tok * options.factor;
  growth.loss_budget = kLossBudget;
  AxisRule& rule = growth.axes;
  for (int64_t copy = 0; copy < options.factor; ++copy) {
    for (int64_t e = 0; e < parent.num_experts; ++e) {
      rule.experts.push_back({.parent = e});
    }
  }
  rule.axes[Axis::kExpert] = tile(parent.num_experts, options.factor);
  rule.carry_expert_state = growth.exact;
  return growth;
}

}  // namespace annuli::grow
