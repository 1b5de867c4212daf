#include "annuli/grow/merge_experts.h"

#include "annuli/grow/upcycle.h"

namespace annuli::grow {
namespace {

// The mean of models that trained apart is far from each of them.
constexpr double kLossBudget = 2;

}  // namespace

GrowthRule merge_experts_rule(const MergeExpertsOptions& options,
                              const ModelConfig& parent,
                              const ModelConfig& child) {
  GrowthRule growth{.exact = false, .loss_budget = kLossBudget};
  AxisRule& rule = growth.axes;
  rule.models = static_cast<int64_t>(options.with.size()) + 1;
  for (int64_t model = 0; model < rule.models; ++model) {
    rule.experts.push_back({.model = model});
  }
  rule.router = router_rule(options.router, options.router_std);
  rule.carry_state = false;
  return growth;
}

}  // namespace annuli::grow
