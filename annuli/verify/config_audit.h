#pragma once

#include <string>
#include <vector>

#include "annuli/config/model_config.h"
#include "annuli/grow/recipe.h"
#include "annuli/verify/verdict.h"

// What the function depends on besides the weights must be exactly what the
// growth implies from the parent's config. A change of eps from 1e-5 to 1e-6
// moves logits by less than any tolerance that rounding needs, and is a fault
// all the same.
namespace annuli::verify {

// A field whose value is not the implied one.
struct ConfigDifference {
  std::string field;
  std::string found;
  std::string expected;
};

// Follows from the parent's config and the axes, not from what the recipe says
// the child's config is, but for what only an operator can choose: how many
// experts an upcycling makes and chooses, and whether a head is untied.
//
// Sizes and depth follow from axes and layer map. eps times kept / size of a
// zero-padded residual. A dense parent's mixture must renormalise its gates
// (norm_topk_prob). m copies of every expert are chosen m times as often, if
// the recipe is exact. A tied head may be untied, or stay tied with a logit
// multiplier divided by the copies of the residual.
ModelConfig implied_config(const grow::Recipe& recipe);

// All fields that differ, in the order of the config.
std::vector<ConfigDifference> config_differences(const ModelConfig& found,
                                                 const ModelConfig& expected);

// `child`: as its file says it, read by the rules of its family (Qwen3-MoE
// without norm_topk_prob does not renormalise).
Verdict config_audit(const grow::Recipe& recipe, const ModelConfig& child);

}  // namespace annuli::verify
