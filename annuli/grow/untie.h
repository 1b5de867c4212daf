#pragma once

#include "annuli/grow/operator.h"

// Untying: a head that is the embedding's table gets a table of its own, equal
// to that (modded-nanogpt does it at two thirds of the training). The logits
// keep every bit; from then on each of the two has a gradient of its own.
// Multipliers of the logits stay in the config and hold for the new head.
//
// Axis rule: every axis as it is; the child's config has no tied table.
//
// AdamW's state: the table keeps its moments, those of the sum of the gradients
// that it had as embedding and as head; the head gets a copy of them, or starts
// at zero (`head_state`).
namespace annuli::grow {

using UntieOptions = UntiePlan;

GrowthRule untie_rule(const UntieOptions& options, const ModelConfig& parent,
                      const ModelConfig& child);
using Untie = RuleOperator<UntieOptions, untie_rule>;

}  // namespace annuli::grow
