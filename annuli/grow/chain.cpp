#include "annuli/grow/chain.h"

#include "annuli/core/error.h"
#include "annuli/grow/arguments.h"
#include "annuli/grow/compose.h"
#include "annuli/grow/registry.h"

namespace annuli::grow {
namespace {

GrowPlan plan_of_step(const GrowthStep& step) {
  GrowPlan plan;
  static_cast<GrowthStep&>(plan) = step;
  return plan;
}

}  // namespace

Recipe Chain::recipe(const ModelConfig& parent, uint64_t seed) const {
  ANNULI_CHECK(!steps_.empty(), "a chain without steps");
  Recipe whole = make_operator(plan_of_step(steps_[0]))->recipe(parent, seed);
  for (size_t i = 1; i < steps_.size(); ++i) {
    whole = compose(
        whole,
        make_operator(plan_of_step(steps_[i]))->recipe(whole.child, seed));
  }
  GrowPlan plan;
  plan.chain = steps_;
  whole.op = name();
  whole.arguments = arguments_of(plan);
  return whole;
}

}  // namespace annuli::grow
