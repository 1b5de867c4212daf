#include "annuli/verify/window_check.h"

#include <ATen/TensorOperators.h>

#include <algorithm>

#include "annuli/verify/layer_pairs.h"
#include "annuli/verify/router_logit_scale.h"

namespace annuli::verify {
namespace {

// Tokens before the first that chose otherwise by rounding alone, of T.
int64_t comparable_tokens(const WindowRecord& parent, const WindowRecord& child,
                          const grow::Recipe& recipe) {
  int64_t tokens = parent.logits.size(1);
  if (!recipe.parent.is_mixture()) return tokens;
  for (const LayerPair& pair : comparable_layers(recipe)) {
    const Choices choices =
        compare_choices(parent.trace.layers[pair.parent].router_logits,
                        child.trace.layers[pair.child].router_logits,
                        recipe.child.num_experts_per_tok);
    const at::Tensor by_rounding =
        choices.differs.logical_and(choices.decided.logical_not());
    if (!by_rounding.any().item<bool>()) continue;
    tokens = std::min(tokens, by_rounding.nonzero()[0][0].item<int64_t>());
  }
  return tokens;
}

// The first T tokens of a window; views.
WindowRecord first_tokens(const WindowRecord& window, int64_t T) {
  WindowRecord cut = window;
  cut.logits = cut.logits.narrow(1, 0, T);
  for (LayerTrace& layer : cut.trace.layers) {
    layer.residual = layer.residual.narrow(1, 0, T);
    layer.q = layer.q.narrow(1, 0, T);
    layer.k = layer.k.narrow(1, 0, T);
    if (!layer.router_logits.defined()) continue;
    layer.router_logits = layer.router_logits.narrow(0, 0, T);
    layer.experts = layer.experts.narrow(0, 0, T);
  }
  return cut;
}

}  // namespace

WindowRun run_window_checks(const ParentRecord& parent,
                            const grow::Recipe& recipe, const Probe& probe,
                            const Transformer& child, Dispatch dispatch,
                            const std::vector<WindowCheck*>& checks) {
  WindowRun run;
  int64_t shown = 0;
  int64_t all = 0;
  for (size_t i = 0; i < parent.windows.size(); ++i) {
    const WindowRecord window = record_window(child, probe.tokens[i], dispatch);
    run.loss += cross_entropy(window.logits, probe.targets[i]);
    const int64_t T = comparable_tokens(parent.windows[i], window, recipe);
    shown += T;
    all += window.logits.size(1);
    if (T == 0) continue;
    const WindowRecord before = first_tokens(parent.windows[i], T);
    const WindowRecord after = first_tokens(window, T);
    for (WindowCheck* check : checks) check->see(before, after);
  }
  run.loss /= static_cast<double>(parent.windows.size());
  run.compared = static_cast<double>(shown) / static_cast<double>(all);
  return run;
}

}  // namespace annuli::verify
