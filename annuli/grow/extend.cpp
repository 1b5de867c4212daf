#include "annuli/grow/extend.h"

namespace annuli::grow {
namespace {

// Yarn by 4 costs hundredths of a nat on the parent's length, linear tenths;
// what costs more is damage, to be asked for by name.
constexpr double kLossBudget = 0.5;

}  // namespace

GrowthRule extend_rule(const ExtendPlan& options, const ModelConfig& parent,
                       const ModelConfig& child) {
  return {.exact = false, .loss_budget = kLossBudget};
}

}  // namespace annuli::grow
