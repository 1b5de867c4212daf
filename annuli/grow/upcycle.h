#pragma once

#include "annuli/config/phase_plan.h"
#include "annuli/grow/axis_rule.h"
#include "annuli/grow/operator.h"

// Sparse upcycling: every feed-forward becomes E experts, each a full copy, and
// gets a router (Komatsuzaki et al., 2212.05055).
//
// Preserves the function. With f the dense feed-forward and gates g that sum to
// 1 over the k chosen experts, all equal to f,
//
//   y = f_1(x) + sum_{i>1} g_i (f_i(x) - f_1(x)) = f(x),
//
// whatever the router says; the differences are exact zeros, so in equal GEMM
// shapes nothing is rounded differently either. Attention, norms and embedding
// are the parent's.
//
// The router is small and normal, its rows orthogonal to the layer's mean
// input: that mean carries most of the input's norm, and a row's component
// along it would be a constant preference for one expert over all tokens. A
// zero router keeps the function too but its gradient is exactly 0 while the
// experts are equal, so experts stay tied and the unchosen ones die.
//
// AdamW's state: experts and router start anew (each copy sees about k / E of
// the tokens, so the dense moments have the wrong size by a factor that depends
// on noise), everything else carries on.
namespace annuli::grow {

using UpcycleOptions = UpcyclePlan;

AxisRule axis_rule(const UpcycleOptions& options);

class Upcycle : public Operator {
 public:
  explicit Upcycle(UpcycleOptions options) : options_(options) {}
  std::string name() const override { return "upcycle"; }
  Recipe recipe(const ModelConfig& parent, uint64_t seed) const override;

 private:
  UpcycleOptions options_;
};

}  // namespace annuli::grow
