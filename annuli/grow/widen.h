#pragma once

#include "annuli/config/phase_plan.h"
#include "annuli/grow/axis_rule.h"
#include "annuli/grow/operator.h"

// Width growth by an integer factor n on residual, head, kv_head and ffn
// (HyperCloning: Samragh et al., 2409.12903).
//
// Preserves the function, and every residual stream as n copies of the
// parent's. A matrix with a produced and b contracted copies becomes
//
//   [ W/b  W/b ...          so that  sum over the b equal inputs of W/b x = W x
//     W/b  W/b ... ]  a x b blocks
//
// Embedding, gains: tiled (RMSNorm's mean of squares is that of one copy).
// Whole heads are tiled, head_dim is kept, so RoPE and the per-head q/k norms
// are untouched and head cH + h still reads kv head cK + h K / H. Router and
// head contract the residual: divided by n. A tied head is untied (copies / n),
// or stays tied with 1/n folded into the final norm's gain.
//
// Without noise the copies would receive equal gradients for ever. So pairs of
// contracted copies get +e and -e, drawn anew for every produced copy: their
// inputs are equal, so the function does not see it, but each output copy then
// has gradients of its own. Noise power is set against each block in dB.
//
// AdamW's state and rates follow the gradient (see TensorRecipe): with those
// multipliers and without noise the child retraces the parent's
// training exactly, except where a tied table is untied: its moments are those
// of the sum of two gradients and start anew.
namespace annuli::grow {

using WidenOptions = WidenPlan;

AxisRule axis_rule(const WidenOptions& options, const ModelConfig& parent);

class Widen : public Operator {
 public:
  explicit Widen(WidenOptions options) : options_(options) {}
  std::string name() const override { return "widen"; }
  Recipe recipe(const ModelConfig& parent, uint64_t seed) const override;

 private:
  WidenOptions options_;
};

}  // namespace annuli::grow
