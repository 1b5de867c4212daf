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
// Selection biases (2408.15664) are divided by m: experts are chosen by p + b,
// the child's by p / m + b / m, in the same order.
//
// `selection_bias` with k -> k preserves the function too. A parent without
// biases has zeros. The parent's own experts keep theirs, b / m; all copies get
//
//   min over e of b_e / m, minus 1, minus 1/128.
//
// Probabilities lie between 0 and 1. So a copy's score is at most
// min b / m - 1/128, and an original's at least min b / m. There are E >= k
// originals, so no token chooses a copy, for any router: they are closed, and
// stay so until the biases move, whatever training makes of the rows. (At first
// a copy's probability is at most 1 / m, as m experts have its logit, and less
// would do; but rows of copies stay behind, and their share may grow.) The
// 1/128 is room for rounding: scores are sums in fp32 of numbers that are
// rounded by 2^-24 of 1 + |b| each, which stays far below it while |b| < 2^10,
// a million steps of 1e-3. The originals stand in the parent's order, their
// gates, renormalised over the chosen, are the parent's,
//
//   (p_i / m) / sum_j (p_j / m) = g_i,
//
// and so is the output. Raw gates (norm_topk_prob: false) would be g_i / m, and
// are refused. Training opens the copies: they have no load, so their biases
// rise with each step and those of loaded experts fall
// (train/selection_bias.h), by rates that weigh m times as much as they did
// against probabilities that are m times smaller.
//
// With another k and no such biases nothing is preserved: equal logits put
// copies of the best expert first. The jump of the loss is measured against a
// budget.
//
// Options: `factor` m, `num_experts_per_tok`, `selection_bias`.
//
// Axis rule: expert e is a copy of e mod E; the expert axis m times over.
//
// AdamW's state, with m k: all copies get equal gradients, the parent's / m, so
// m is divided by m and v by its square, router rows alike: the child retraces
// the parent's training (without router losses: the balance loss grows by m).
// The copies part only if something sets them apart: widen with noise, or
// another k. Beside closed copies the originals get the parent's whole
// gradients, so all moments are the parent's own, undivided, those of the
// copies too. As long as no copy opens, the originals of a parent without
// biases retrace its training. Beside biases of its own they come close: rows
// of copies have no gradient and stay behind, so that their share of the
// softmax changes, and with it how much an original's probability weighs
// against its bias. With another k, experts and routers start anew.
namespace annuli::grow {

using ExpandExpertsOptions = ExpandExpertsPlan;

GrowthRule expand_experts_rule(const ExpandExpertsOptions& options,
                               const ModelConfig& parent,
                               const ModelConfig& child);
using ExpandExperts = RuleOperator<ExpandExpertsOptions, expand_experts_rule>;

}  // namespace annuli::grow
