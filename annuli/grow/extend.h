#pragma once

#include "annuli/grow/operator.h"

// Longer sequences: the rotary frequencies change, every tensor stays as it is,
// to the bit. By `method`:
//
//   yarn     (Peng et al., 2309.00071) frequencies that turn less than once
//            within the parent's length are divided by the factor (the child's
//            length over the parent's), those that turn more than 32 times are
//            kept, a ramp between; queries and keys times 0.1 ln(factor) + 1
//   theta    the base is raised, to `rope_theta` or so that the slowest
//            frequency is stretched by the factor
//   linear   (Chen et al., 2306.15595) every frequency over the factor
//
// Preserves nothing but what does not read positions; the change of the loss on
// sequences of the parent's length is held against a budget. What it is for,
// the loss beyond that length, comes with training on longer ones
// (`train.sequence_length`).
//
// Axis rule: every axis as it is; the child's config has the new frequencies.
//
// AdamW's state is carried: the gradient is the parent's but for what the
// angles change.
namespace annuli::grow {

GrowthRule extend_rule(const ExtendPlan& options, const ModelConfig& parent,
                       const ModelConfig& child);
using Extend = RuleOperator<ExtendPlan, extend_rule>;

}  // namespace annuli::grow
