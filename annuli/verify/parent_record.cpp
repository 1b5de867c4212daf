#include "annuli/verify/parent_record.h"

#include <algorithm>

namespace annuli::verify {
namespace {

// How many windows are also computed in fp64 arithmetic.
constexpr size_t kDoubleWindows = 2;

std::vector<at::Tensor> feed_forward_means(const Transformer& model,
                                           const at::Tensor& tokens) {
  Trace trace;
  ForwardOptions options;
  options.trace = &trace;
  model.hidden_states(tokens, options);
  std::vector<at::Tensor> means;
  for (const LayerTrace& layer : trace.layers) {
    means.push_back(layer.ffn_input.mean(0));
  }
  return means;
}

}  // namespace

ParentRecord ParentRecord::take(const Transformer& parent, const Probe& probe,
                                bool with_double_logits) {
  ParentRecord record;
  record.config = parent.config();
  record.dtype = parent.dtype();
  for (size_t i = 0; i < probe.tokens.size(); ++i) {
    WindowRecord window;
    ForwardOptions options;
    options.trace = &window.trace;
    window.logits = parent.logits(probe.tokens[i], options);
    for (LayerTrace& layer : window.trace.layers) layer.ffn_input.reset();
    record.windows.push_back(std::move(window));
    record.loss += parent.loss(probe.tokens[i], probe.targets[i])
                       .cross_entropy.item<double>();
  }
  record.loss /= static_cast<double>(probe.tokens.size());
  if (with_double_logits) {
    ForwardOptions options;
    options.double_arithmetic = true;
    const size_t count = std::min(kDoubleWindows, probe.tokens.size());
    for (size_t i = 0; i < count; ++i) {
      record.double_logits.push_back(parent.logits(probe.tokens[i], options));
    }
  }
  record.feed_forward_mean = feed_forward_means(parent, probe.router_tokens);
  for (size_t row = 0; row < parent.table().size(); ++row) {
    record.sketches.push_back(
        sketch_of(parent.table()[row], parent.weight(row)));
  }
  return record;
}

}  // namespace annuli::verify
