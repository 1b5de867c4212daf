#include "annuli/verify/window_check.h"

#include <ATen/TensorOperators.h>

#include <algorithm>
#include <utility>

#include "annuli/parallel/agree.h"
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
      compare_choices(parent, child, recipe, router_limit(recipe, roundoff));
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
  if (layer.selection.defined()) {
    cut.selection = layer.selection.narrow(0, 0, T);
  }
  return cut;
}

}  // namespace

void share_seen(parallel::ProcessGroup& group,
                const std::vector<WindowCheck*>& checks) {
  for (WindowCheck* check : checks) {
    const auto seen = parallel::gather_numbers(group, check->seen());
    for (int64_t rank = 0; rank < group.size(); ++rank) {
      if (rank != group.rank()) check->add_seen(seen[rank]);
    }
  }
}

Comparison::Comparison(const grow::Recipe& recipe, double storage_roundoff,
                       std::vector<WindowCheck*> checks)
    : recipe_(recipe),
      storage_roundoff_(storage_roundoff),
      checks_(std::move(checks)) {}

int64_t& Comparison::tokens_of(int64_t window, int64_t all) {
  return windows_.try_emplace(window, all, all).first->second.compared;
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

Comparison::Count Comparison::count() const {
  Count sum;
  for (const auto& [window, count] : windows_) {
    sum.compared += count.compared;
    sum.all += count.all;
  }
  return sum;
}

WindowPasses::WindowPasses(const ParentRecord& parent,
                           const grow::Recipe& recipe, const Probe& probe,
                           const Transformer& child, Dispatch dispatch,
                           std::vector<WindowCheck*> checks)
    : parent_(parent),
      recipe_(recipe),
      probe_(probe),
      child_(child),
      dispatch_(dispatch),
      checks_(std::move(checks)),
      comparison_(recipe, storage_roundoff(parent.sketches, recipe, child),
                  checks_) {}

void WindowPasses::add_to(std::vector<Pass>& passes) {
  for (size_t i = 0; i < parent_.windows.size(); ++i) {
    passes.emplace_back([this, i] { pass(i); });
  }
}

void WindowPasses::pass(size_t i) {
  const size_t number = parent_.division.windows().at(i);
  const WindowRecord before = parent_.windows.read(i);
  const WindowRecord after =
      record_window(child_, probe_.tokens[number], dispatch_);
  const auto window = static_cast<int64_t>(number);
  losses_[window] = cross_entropy(after.logits, probe_.targets[number]);
  for (const LayerPair& pair : comparable_layers(recipe_)) {
    comparison_.see_layer(window, pair, before.trace.layers[pair.parent],
                          after.trace.layers[pair.child]);
  }
  comparison_.see_logits(window, before.logits, after.logits);
}

WindowRun WindowPasses::finish() {
  parallel::ProcessGroup& group = parent_.division.group();
  share_seen(group, checks_);
  const Comparison::Count own = comparison_.count();
  Comparison::Count count;
  for (const auto& other : parallel::gather_numbers(
           group,
           {static_cast<double>(own.compared), static_cast<double>(own.all)})) {
    count.compared += static_cast<int64_t>(other[0]);
    count.all += static_cast<int64_t>(other[1]);
  }
  return {.loss = mean_of_windows(group, losses_), .compared = count.share()};
}

WindowRun run_window_checks(const ParentRecord& parent,
                            const grow::Recipe& recipe, const Probe& probe,
                            const Transformer& child, Dispatch dispatch,
                            const std::vector<WindowCheck*>& checks) {
  WindowPasses windows(parent, recipe, probe, child, dispatch, checks);
  std::vector<Pass> passes;
  windows.add_to(passes);
  make_passes(child, parent.division.group(), "proving: the child on the probe",
              passes);
  return windows.finish();
}

Verdict compared_share(double share) {
  return at_least("functional_identity", "share of the probe before a near-tie",
                  share, kFewestCompared);
}

}  // namespace annuli::verify
