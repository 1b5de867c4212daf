#include "annuli/verify/side_by_side.h"

#include <ATen/ops/cat.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "annuli/core/error.h"
#include "annuli/core/progress.h"
#include "annuli/verify/layer_pairs.h"
#include "annuli/verify/vocabulary_pass.h"

namespace annuli::verify {
namespace {

// The first windows, of each the first tokens; 0: all.
at::Tensor part_of(const std::vector<at::Tensor>& windows, size_t count,
                   int64_t length) {
  const size_t kept =
      count == 0 ? windows.size() : std::min(count, windows.size());
  const at::Tensor whole = at::cat(std::vector<at::Tensor>(
      windows.begin(), windows.begin() + static_cast<int64_t>(kept)));
  return length == 0 ? whole
                     : whole.narrow(1, 0, std::min(length, whole.size(1)));
}

// What a layer did in window w, of W.
LayerTrace window_of(const LayerTrace& layer, int64_t w) {
  const int64_t T = layer.residual.size(1);
  LayerTrace window;
  window.residual = layer.residual.narrow(0, w, 1);
  window.q = layer.q.narrow(0, w, 1);
  window.k = layer.k.narrow(0, w, 1);
  if (layer.router_logits.defined()) {
    window.router_logits = layer.router_logits.narrow(0, w * T, T);
    window.experts = layer.experts.narrow(0, w * T, T);
  }
  if (layer.selection.defined()) {
    window.selection = layer.selection.narrow(0, w * T, T);
  }
  return window;
}

// A model at some layer.
class Runner {
 public:
  Runner(const Transformer& model, const at::Tensor& tokens,
         at::ScalarType arithmetic, Dispatch dispatch)
      : model_(model) {
    options_.dispatch = dispatch;
    options_.double_arithmetic = arithmetic == at::kDouble;
    x_ = model.embed(tokens, options_);
  }

  int64_t next_layer() const { return next_; }
  int64_t layers() const { return model_.config().num_hidden_layers; }
  const LayerTrace& trace() const { return trace_; }

  void step() {
    trace_ = {};
    x_ = model_.block(x_, next_++, options_, &trace_);
  }
  void finish() {
    while (next_ < layers()) step();
  }
  VocabularyPass vocabulary(const at::Tensor& targets) {
    trace_ = {};
    return {model_, x_, targets};
  }

 private:
  const Transformer& model_;
  ForwardOptions options_;
  at::Tensor x_;  // [W, T, D]
  int64_t next_ = 0;
  LayerTrace trace_;
};

void compare_layers(Runner& parent, Runner& child, const grow::Recipe& recipe,
                    Comparison& comparison, std::vector<at::Tensor>& experts) {
  const std::vector<LayerPair> pairs = comparable_layers(recipe);
  Progress progress("verifying", child.layers());
  for (int64_t layer = 0; layer < child.layers(); ++layer) {
    child.step();
    if (child.trace().experts.defined()) {
      experts.push_back(child.trace().experts);
    }
    progress.advance();
    const auto pair = std::ranges::find(pairs, layer, &LayerPair::child);
    if (pair == pairs.end()) continue;
    // Mapped layers keep the parent's order.
    while (parent.next_layer() <= pair->parent) parent.step();
    ANNULI_CHECK(parent.next_layer() == pair->parent + 1,
                 "the parent stands at layer {}, not {}", parent.next_layer(),
                 pair->parent + 1);
    const int64_t windows = child.trace().residual.size(0);
    for (int64_t w = 0; w < windows; ++w) {
      comparison.see_layer(w, *pair, window_of(parent.trace(), w),
                           window_of(child.trace(), w));
    }
  }
  parent.finish();
}

void compare_logits(VocabularyPass& parent, VocabularyPass& child,
                    const ModelConfig& config, int64_t windows, int64_t tokens,
                    Comparison& comparison) {
  const int64_t part = vocabulary_part(config.hidden_size, windows * tokens);
  for (int64_t begin = 0; begin < config.vocab_size; begin += part) {
    const int64_t count = std::min(part, config.vocab_size - begin);
    const at::Tensor before = parent.logits(begin, count);
    const at::Tensor after = child.logits(begin, count);
    for (int64_t w = 0; w < windows; ++w) {
      comparison.see_logits(w, before.narrow(0, w, 1), after.narrow(0, w, 1));
    }
  }
}

// Of the mean of x.
double standard_error(const at::Tensor& x) {
  const auto count = static_cast<double>(x.numel());
  return std::sqrt(x.var(/*unbiased=*/false).item<double>() / count);
}

}  // namespace

SideBySide run_side_by_side(const Transformer& parent, const Transformer& child,
                            const grow::Recipe& recipe, const Probe& probe,
                            const SideBySideOptions& options,
                            const std::vector<WindowCheck*>& checks) {
  const auto part = [&](const std::vector<at::Tensor>& windows) {
    return part_of(windows, options.windows, options.length);
  };
  const at::Tensor tokens = part(probe.tokens);
  const at::Tensor targets = part(probe.targets);
  Runner before(parent, tokens, options.arithmetic, Dispatch::kSorted);
  Runner after(child, tokens, options.arithmetic, options.dispatch);
  Comparison comparison(recipe, options.storage_roundoff, checks);
  SideBySide result;
  compare_layers(before, after, recipe, comparison, result.experts);
  VocabularyPass parent_head = before.vocabulary(targets);
  VocabularyPass child_head = after.vocabulary(targets);
  compare_logits(parent_head, child_head, child.config(), tokens.size(0),
                 tokens.size(1), comparison);
  result.loss_before = parent_head.loss();
  result.loss_after = child_head.loss();
  result.loss_error =
      standard_error(child_head.losses() - parent_head.losses());
  result.compared = comparison.count().share();
  return result;
}

double streamed_loss(const Transformer& model, const Probe& probe,
                     at::ScalarType arithmetic) {
  const at::Tensor tokens = part_of(probe.tokens, 0, 0);
  Runner runner(model, tokens, arithmetic, Dispatch::kSorted);
  runner.finish();
  VocabularyPass head = runner.vocabulary(part_of(probe.targets, 0, 0));
  const int64_t V = model.config().vocab_size;
  const int64_t part =
      vocabulary_part(model.config().hidden_size, tokens.numel());
  for (int64_t begin = 0; begin < V; begin += part) {
    head.logits(begin, std::min(part, V - begin));
  }
  return head.loss();
}

}  // namespace annuli::verify
