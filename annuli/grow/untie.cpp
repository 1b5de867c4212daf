#include "annuli/grow/untie.h"

namespace annuli::grow {

GrowthRule untie_rule(const UntieOptions& options, const ModelConfig& parent,
                      const ModelConfig& child) {
  GrowthRule rule;
  rule.axes.carry_untied_table = true;
  rule.axes.carry_untied_head = options.head_state == OptimizerState::kCarry;
  return rule;
}

}  // namespace annuli::grow
