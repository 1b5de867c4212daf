#pragma once

#include "annuli/grow/operator.h"

// Several dense models of one shape become one mixture (Branch-Train-MiX:
// Sukhbaatar et al., 2403.07816): expert i is model i's feed-forward, the rest
// is the mean of all models, the router is new.
//
// Preserves nothing, but for equal models, whose mean and mixture they are; the
// loss against the first model's is measured against a budget.
//
// Options: `with` names the other models; the operator itself needs only their
// number. The router as in upcycle.h; means are those of the first model.
//
// Axis rule: experts from the dense feed-forwards of several models; everything
// else from all of them.
//
// AdamW's state starts anew: means of moments are the moments of nothing.
namespace annuli::grow {

using MergeExpertsOptions = MergeExpertsPlan;

GrowthRule merge_experts_rule(const MergeExpertsOptions& options,
                              const ModelConfig& parent,
                              const ModelConfig& child);
using MergeExperts = RuleOperator<MergeExpertsOptions, merge_experts_rule>;

}  // namespace annuli::grow
