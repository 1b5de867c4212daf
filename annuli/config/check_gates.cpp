#include "annuli/config/check_gates.h"

#include <algorithm>
#include <optional>

#include "annuli/config/constant_gates.h"
#include "annuli/config/grown_shape.h"
#include "annuli/config/model_from.h"
#include "annuli/core/error.h"

namespace annuli {
namespace {

bool may_fail(const Plan& plan, const PhasePlan& phase) {
  constexpr const char* kCheck = "router_health";
  return std::ranges::count(plan.allow, kCheck) > 0 ||
         std::ranges::count(phase.allow, kCheck) > 0;
}

[[noreturn]] void refuse(const std::string& key) {
  user_error(
      "checking the plan: {}: found 1: {}; expected {}, or allow: "
      "[router_health] to train it all the same",
      key, kConstantGates, kInsteadOfConstantGates);
}

// Of a model that only the run can open a step tells as much as this.
bool is_top_one(const GrowthStep& step) {
  if (step.upcycle) return step.upcycle->num_experts_per_tok == 1;
  return false;
}

// Follows one step; whether it makes such gates.
bool makes_constant_gates(const GrowthStep& step,
                          std::optional<ModelConfig>& config) {
  if (!config) return is_top_one(step);
  const bool had = has_constant_gates(*config);
  config = grown_shape(*config, step, complain_of_growth);
  return !had && has_constant_gates(*config);
}

std::string key_of(const std::string& phase, const GrowthStep& step) {
  return fmt::format("{}.{}.num_experts_per_tok", phase,
                     step.upcycle ? "upcycle" : "expand_experts");
}

}  // namespace

void check_gates(const Plan& plan) {
  std::optional<ModelConfig> config = first_config(plan.model);
  const bool is_new = plan.model.from.empty();
  if (is_new && has_constant_gates(*config) &&
      !may_fail(plan, plan.phases.at(0))) {
    refuse("model.num_experts_per_tok");
  }
  for (size_t i = 0; i < plan.phases.size(); ++i) {
    const PhasePlan& phase = plan.phases[i];
    if (!phase.grow) continue;
    const bool chained = !phase.grow->chain.empty();
    const std::vector<GrowthStep> steps =
        chained ? phase.grow->chain : std::vector<GrowthStep>{*phase.grow};
    for (size_t s = 0; s < steps.size(); ++s) {
      if (!makes_constant_gates(steps[s], config) || may_fail(plan, phase)) {
        continue;
      }
      refuse(key_of(chained ? fmt::format("phases.{}.grow.chain.{}", i, s)
                            : fmt::format("phases.{}.grow", i),
                    steps[s]));
    }
  }
}

}  // namespace annuli
