#include "annuli/grow/expand_experts.h"

#include "annuli/grow/transforms/closed_copies.h"

namespace annuli::grow {
namespace {

constexpr double kLossBudget = 0.5;
// Probabilities lie between 0 and 1; the rest is room for rounding.
constexpr double kClosed = 1 + 1.0 / 128;

TransformRule closing(int64_t experts) {
  return [=](const TensorSpec& child, const TensorRecipe&) -> TransformPtr {
    if (child.part != Part::kSelectionBias) return nullptr;
    return std::make_shared<ClosedCopies>(experts, kClosed);
  };
}

}  // namespace

GrowthRule expand_experts_rule(const ExpandExpertsOptions& options,
                               const ModelConfig& parent,
                               const ModelConfig& child) {
  GrowthRule growth;
  growth.exact =
      options.selection_bias ||
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
  if (options.selection_bias) {
    rule.copies_are_closed = true;
    rule.transforms.push_back(closing(parent.num_experts));
  }
  return growth;
}

}  // namespace annuli::grow
