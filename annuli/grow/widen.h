#pragma once

#include "annuli/grow/operator.h"

// Width growth (HyperCloning: Samragh et al., 2409.12903; other fractions:
// LEMON, 2310.07999, and Gesmundo & Maile, 2308.06103).
//
// Preserves the function, and every residual stream as n copies of the
// parent's. A matrix with a produced and b contracted copies becomes
//
//   [ W/b  W/b ...          so that  sum over the b equal inputs of W/b x = W x
//     W/b  W/b ... ]  a x b blocks
//
// Embedding, gains, biases: tiled (RMSNorm's mean of squares is that of one
// copy). Whole heads are copied, head_dim is kept, so RoPE and the per-head q/k
// norms are untouched; where the copies go so that each still reads its own kv
// head: head_layout.h. Router and head contract the residual: divided by n. A
// tied head is untied (copies / n), or stays tied with 1/n in the final norm's
// gain (fold) or in the config's logit_multiplier.
//
// Options: `factor` on every axis, or sizes for single ones; every axis may
// grow by its own factor. What is left over by whole copies is filled with new
// entries that never reach an output; the formulas stand in axis_rule.h.
//
// Axis rule: residual, ffn, shared_ffn: copies, then new entries; head, kv_head
// by head_layout.
//
// Without noise the copies would receive equal gradients for ever. So pairs of
// contracted copies get +e and -e, drawn anew for every produced copy: their
// inputs are equal, so the function does not see it, but each output copy then
// has gradients of its own. Noise power is set against each block in dB.
//
// AdamW's state and rates follow the gradient (see TensorRecipe): with those
// multipliers, without noise and new entries the child retraces the parent's
// training exactly, except where a tied table is untied: its moments are those
// of the sum of two gradients and start anew; so do k and v where kv heads gain
// more than heads. New entries start with zero moments and the tensor's step.
namespace annuli::grow {

using WidenOptions = WidenPlan;

GrowthRule widen_rule(const WidenOptions& options, const ModelConfig& parent,
                      const ModelConfig& child);
using Widen = RuleOperator<WidenOptions, widen_rule>;

}  // namespace annuli::grow
