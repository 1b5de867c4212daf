#pragma once

#include "annuli/grow/operator.h"

// Depth growth: new layers that copy the parent's (stacking: Du et al.,
// 2405.15319; interposition with zeroed outputs: LLaMA-Pro, 2401.02415).
//
// With `outputs: zero`, the default of every preset, preserves the function
// exactly: a layer computes
//
//   x + O attention(x), then x + down(ffn(x)),
//
// so with O = 0 and every down = 0, biases included, it adds exact zeros; and
// its own o and down receive gradient from the first step on, the rest from the
// second. Where outputs are normalised, x + norm(f(x)), those norms' gains are
// zero instead: a zero into a norm would have a gradient of 1 / sqrt(eps). With
// `keep` nothing is preserved; the jump of the loss is measured against a
// budget.
//
// With `weights: random` (zero/one-layer progressive training, 2511.04981) new
// layers are no copies but what a new model's layers are: matrices from
// normal(0, initializer_range), gains one, biases zero. Presets and layer_map
// then say where they stand. What holds of outputs holds of them too.
//
// Which of two equal layers is new: the later one, always. Per preset, for L
// parent layers and m added ones:
//   copy-last   0 .. L-1, then L-1 m times; the appended m are new
//   stack       0 .. L-1, then the whole stack m / L times, or for m < L the
//               top m layers once; the appended m are new
//   interpose   each layer in place, followed by its copies, spread evenly with
//               the surplus towards the top; the copies are new
//   zero-output the same layers as interpose; refuses `outputs: keep`
//   middle      the m layers in the middle twice, the second time new (MIDAS,
//               2409.19044)
//   layer_map   any order in which the first occurrences are 0 .. L-1; further
//               occurrences are new
//
// AdamW's state: new layers start anew, with the multipliers of the layer they
// copy or stand in place of a copy of; the others carry on.
namespace annuli::grow {

using DeepenOptions = DeepenPlan;

GrowthRule deepen_rule(const DeepenOptions& options, const ModelConfig& parent,
                       const ModelConfig& child);
using Deepen = RuleOperator<DeepenOptions, deepen_rule>;

}  // namespace annuli::grow
