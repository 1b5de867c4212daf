#include "annuli/verify/parent_record.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>

#include <algorithm>

namespace annuli::verify {
namespace {

// How many windows are also computed in fp64 arithmetic.
constexpr size_t kDoubleWindows = 2;

std::vector<at::Tensor> feed_forward_means(const Transformer& model,
                                           const at::Tensor& tokens) {
  std::vector<at::Tensor> means;
  trace_layers(model, tokens, [&](int64_t, const LayerTrace& layer) {
    means.push_back(layer.ffn_input.mean(0));
  });
  return means;
}

void to_host(at::Tensor& tensor) {
  if (tensor.defined()) tensor = tensor.cpu();
}

// Where a file's tensors are.
void bring_to_host(WindowRecord& window) {
  to_host(window.logits);
  to_host(window.trace.embedding);
  for (LayerTrace& layer : window.trace.layers) {
    to_host(layer.residual);
    to_host(layer.q);
    to_host(layer.k);
    to_host(layer.router_logits);
    to_host(layer.experts);
  }
}

}  // namespace

WindowRecord record_window(const Transformer& model, const at::Tensor& tokens,
                           Dispatch dispatch) {
  WindowRecord window;
  ForwardOptions options;
  options.trace = &window.trace;
  options.dispatch = dispatch;
  window.logits = model.logits(tokens, options);
  for (LayerTrace& layer : window.trace.layers) layer.ffn_input.reset();
  bring_to_host(window);
  return window;
}

double cross_entropy(const at::Tensor& logits, const at::Tensor& targets) {
  const at::Tensor log_p = logits.log_softmax(-1);
  const at::Tensor chosen =
      log_p.gather(-1, targets.to(logits.device()).unsqueeze(-1));
  return -chosen.to(at::kDouble).mean().item<double>();
}

at::Tensor logits_in_double(const Transformer& model, const Probe& probe) {
  const at::TensorList windows = probe.tokens;
  const size_t count = std::min(kDoubleWindows, windows.size());
  ForwardOptions options;
  options.double_arithmetic = true;
  return model.logits(at::cat(windows.slice(0, count)), options);
}

void trace_layers(
    const Transformer& model, const at::Tensor& tokens,
    const std::function<void(int64_t layer, const LayerTrace& trace)>& see) {
  at::Tensor x = model.embed(tokens);
  for (int64_t layer = 0; layer < model.config().num_hidden_layers; ++layer) {
    LayerTrace trace;
    x = model.block(x, layer, {}, &trace);
    see(layer, trace);
  }
}

ParentRecord ParentRecord::take(const Transformer& parent, const Probe& probe,
                                bool with_double_logits) {
  ParentRecord record;
  record.config = parent.config();
  record.dtype = parent.dtype();
  for (size_t i = 0; i < probe.tokens.size(); ++i) {
    const WindowRecord window =
        record_window(parent, probe.tokens[i], Dispatch::kSorted);
    record.windows.add(window);
    record.loss += cross_entropy(window.logits, probe.targets[i]);
  }
  record.loss /= static_cast<double>(probe.tokens.size());
  if (with_double_logits) {
    record.double_logits = logits_in_double(parent, probe);
  }
  record.feed_forward_mean = feed_forward_means(parent, probe.router_tokens);
  for (size_t row = 0; row < parent.table().size(); ++row) {
    record.sketches.push_back(
        sketch_of(parent.table()[row], parent.read_weight(row)));
  }
  return record;
}

}  // namespace annuli::verify
