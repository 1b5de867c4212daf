#pragma once

#include "annuli/grow/operator.h"

// A mixture of E experts becomes one of m E: every expert and its router row m
// times (expert upcycling: 2604.19835; with k -> m k: 2510.08008).
//
// With k -> m k, the default, preserves the function. Equal rows give equal
// logits, so the softmax over m E is p / m for each of the m copies, and the
// top m k are all copies of the parent's top k. With gates renormalised over
// the chosen (norm_topk_prob) they are
//
//   (p_i / m) / sum_j m (p_j / m) = g_i / m,
//
// and without they are p_i / m. Either way m copies add to the parent's term,
// and a shared expert is not touched. Where the parent's own k-th and next
// expert tie, both may choose either.
//
// With another k nothing is preserved: equal logits put copies of the best
// expert first. The jump of the loss is measured against a budget.
//
// Options: `factor` m, `num_experts_per_tok`.
//
// Axis rule: expert e is a copy of e mod E; the expert axis m times over.
//
// AdamW's state, with m k: all copies get equal gradients, the parent's / m, so
// m is divided by m and v by its square, router rows alike: the child retraces
// the parent's training (without router losses: the balance loss grows by m).
// The copies part only if something sets them apart: widen with noise, or
// another k. With another k, experts and routers start anew.
namespace annuli::grow {

using ExpandExpertsOptions = ExpandExpertsPlan;

GrowthRule expand_experts_rule(const ExpandExpertsOptions& options,
                               const ModelConfig& parent,
                               const ModelConfig& child);
using ExpandExperts = RuleOperator<ExpandExpertsOptions, expand_experts_rule>;

}  // namespace annuli::grow
