#include "annuli/verify/window_check.h"

#include <ATen/TensorOperators.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "annuli/verify/axis_layout.h"
#include "annuli/verify/router_logit_scale.h"
#include "annuli/verify/tensor_audit.h"

namespace annuli::verify {
namespace {

// Tokens before the first that chose otherwise by rounding alone, of T.
int64_t tokens_before_near_tie(const LayerTrace& parent,
                               const LayerTrace& child,
                               const grow::Recipe& recipe, double roundoff) {
  const int64_t T = child.router_logits.size(0);
  const Choices choices =
      compare_choices(lay_out(parent.router_logits, 1, recipe, Axis::kExpert),
                      child.router_logits, recipe.child.num_experts_per_tok,
                      router_limit(recipe, roundoff));
  const at::Tensor by_rounding =
      choices.differs.logical_and(choices.decided.logical_not());
  return by_rounding.any().item<bool>()
             ? by_rounding.nonzero()[0][0].item<int64_t>()
             : T;
}

// The first T tokens of one window; views.
LayerTrace first_tokens(const LayerTrace& layer, int64_t T) {
  LayerTrace cut = layer;
  cut.residual = layer.residual.narrow(1, 0, T);
  cut.q = layer.q.narrow(1, 0, T);
  cut.k = layer.k.narrow(1, 0, T);
  if (!layer.router_logits.defined()) return cut;
  cut.router_logits = layer.router_logits.narrow(0, 0, T);
  cut.experts = layer.experts.narrow(0, 0, T);
  return cut;
}

}  // namespace

Comparison::Comparison(const grow::Recipe& recipe, double storage_roundoff,
                       std::vector<WindowCheck*> checks)
    : recipe_(recipe),
      storage_roundoff_(storage_roundoff),
      checks_(std::move(checks)) {}

int64_t& Comparison::tokens_of(int64_t window, int64_t all) {
  const auto w = static_cast<size_t>(window);
  if (w >= tokens_.size()) {
    tokens_.resize(w + 1, all);
    all_.resize(w + 1, all);
  }
  return tokens_[w];
}

void Comparison::see_layer(int64_t window, LayerPair layers,
                           const LayerTrace& parent, const LayerTrace& child) {
  int64_t& T = tokens_of(window, child.residual.size(1));
  if (T == 0) return;
  LayerTrace before = first_tokens(parent, T);
  LayerTrace after = first_tokens(child, T);
  if (recipe_.parent.is_mixture()) {
    T = std::min(
        T, tokens_before_near_tie(before, after, recipe_, storage_roundoff_));
    before.residual = before.residual.narrow(1, 0, T);
    after.residual = after.residual.narrow(1, 0, T);
  }
  for (WindowCheck* check : checks_) {
    check->see({window, layers, before, after});
  }
}

void Comparison::see_logits(int64_t window, const at::Tensor& parent,
                            const at::Tensor& child) {
  const int64_t T = tokens_of(window, child.size(1));
  if (T == 0) return;
  for (WindowCheck* check : checks_) {
    check->see_logits(window, parent.narrow(1, 0, T), child.narrow(1, 0, T));
  }
}

double Comparison::compared() const {
  const auto sum = [](const std::vector<int64_t>& counts) {
    return static_cast<double>(
        std::accumulate(counts.begin(), counts.end(), int64_t{0}));
  };
  return all_.empty() ? 1 : sum(tokens_) / sum(all_);
}

WindowRun run_window_checks(const ParentRecord& parent,
                            const grow::Recipe& recipe, const Probe& probe,
                            const Transformer& child, Dispatch dispatch,
                            const std::vector<WindowCheck*>& checks) {
  WindowRun run;
  Comparison comparison(
      recipe, storage_roundoff(parent.sketches, recipe, child), checks);
  for (size_t i = 0; i < parent.windows.size(); ++i) {
    const WindowRecord before = parent.windows.read(i);
    const WindowRecord after = record_window(child, probe.tokens[i], dispatch);
    run.loss += cross_entropy(after.logits, probe.targets[i]);
    const auto window = static_cast<int64_t>(i);
    for (const LayerPair& pair : comparable_layers(recipe)) {
      comparison.see_layer(window, pair, before.trace.layers[pair.parent],
                           after.trace.layers[pair.child]);
    }
    comparison.see_logits(window, before.logits, after.logits);
  }
  run.loss /= static_cast<double>(parent.windows.size());
  run.compared = comparison.compared();
  return run;
}

Verdict compared_share(double share) {
  return at_least("functional_identity", "share of the probe before a near-tie",
                  share, kFewestCompared);
}

}  // namespace annuli::verify
