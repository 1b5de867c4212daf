#pragma once

#include "annuli/grow/operator.h"

// Upcycling: every feed-forward becomes experts and gets a router
// (Komatsuzaki et al., 2212.05055). Attention, norms and embedding are the
// parent's. f is the dense feed-forward, g are the gates of the k chosen
// experts; they sum to 1 (norm_topk_prob).
//
// Plain: E full copies. Preserves the function, with any router:
//
//   y = f_1(x) + sum_{i>1} g_i (f_i(x) - f_1(x)) = f(x);
//
// the differences are exact zeros, so in equal GEMM shapes nothing is rounded
// differently either.
//
// `granularity` G: each of E copies is cut into G shards of F / G units, E G
// experts in all, copy c's shards being the experts c G to c G + G - 1. The
// shards of a copy share a router row, so they are chosen together: with k = j
// G, j copies are chosen whole, their gates are p_c / (G sum p), and
//
//   sum_c sum_s g_c f_cs(x) = f(x) / G.
//
// So down is multiplied by G, or up and down by sqrt(G) (`shard_scale`; gated
// only: act(up x) is not proportional to up). Down's bias stays, the gates
// being 1 in sum. Preserves the function if G divides k; otherwise a budget.
// (He et al., 2410.07524, scale gate too, which is exact for no gated
// activation.)
//
// `shared_expert`: a shared expert is the dense feed-forward and the routed
// experts' down is zero. The shared expert's gate is zero, sigmoid(0) = 1/2, so
// its down is doubled: bit for bit the dense layer, for any router, gates and
// k.
//
// `drop_ratio` r: of each expert's units this share is drawn anew, normal with
// the mean and deviation of what stood there, the same units in gate, up and
// down (Drop-Upcycling: Nakamura et al., 2502.19261). Preserves nothing;
// measured against a budget.
//
// Router: `random` draws small normal rows, `mean-orthogonal` takes out of each
// its component along the layer's mean input: that mean carries most of the
// input's norm, and a row's component along it would be a constant preference
// for one expert over all tokens. In a plan, where the means are measured
// anyway, `random` does so too. A `zero` router keeps the function but its
// gradient is exactly 0 while the experts are equal, so experts stay tied and
// the unchosen ones die.
//
// Axis rule: experts from the dense feed-forward, each with its units; ffn by
// units; a new router.
//
// AdamW's state: experts and router start anew (each copy sees about k / E of
// the tokens, so the dense moments have the wrong size by a factor that depends
// on noise); a shared expert sees what the dense layer saw and carries on, like
// everything else.
namespace annuli::grow {

using UpcycleOptions = UpcyclePlan;

GrowthRule upcycle_rule(const UpcycleOptions& options,
                        const ModelConfig& parent, const ModelConfig& child);
using Upcycle = RuleOperator<UpcycleOptions, upcycle_rule>;

// Of the mixtures that operators make from dense models.
RouterRule router_rule(RouterInit router, double std);

}  // namespace annuli::grow
