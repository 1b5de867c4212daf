#include "annuli/verify/parent_record.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>

#include <algorithm>
#include <map>
#include <utility>

#include "annuli/model/shared_work.h"

namespace annuli::verify {
namespace {

// How many windows are also computed in fp64 arithmetic.
constexpr size_t kDoubleWindows = 2;

// Of what the feed-forward of each layer reads.
struct OfLayers {
  std::vector<at::Tensor> means;
  std::vector<at::Tensor> centroids;  // where they are asked for
};

OfLayers look_at_layers(const Transformer& model, const at::Tensor& tokens,
                        const grow::CentroidOrder& order) {
  OfLayers found;
  trace_layers(model, tokens, [&](int64_t index, const LayerTrace& layer) {
    found.means.push_back(layer.ffn_input.mean(0));
    if (order.count == 0) return;
    found.centroids.push_back(
        grow::centroid_rows(layer.ffn_input, order, index));
  });
  return found;
}

// What the process that made the pass has, on all.
std::vector<at::Tensor> share_means(parallel::ProcessGroup& group,
                                    const std::vector<at::Tensor>& means,
                                    const Transformer& model) {
  if (group.size() == 1) return means;
  std::vector<at::Tensor> all = tensors_of_holder(group, means);
  for (at::Tensor& mean : all) mean = mean.to(model.device(), model.dtype());
  return all;
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
    to_host(layer.selection);
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

double mean_of_windows(parallel::ProcessGroup& group,
                       const std::map<int64_t, double>& own) {
  const std::vector<double> values = in_order(group, own);
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

ParentRecord ParentRecord::take(const Transformer& parent, const Probe& probe,
                                bool with_double_logits,
                                const grow::CentroidOrder& centroids) {
  return take(parent, probe, with_double_logits, ProbeDivision(probe),
              centroids);
}

ParentRecord ParentRecord::take(const Transformer& parent, const Probe& probe,
                                bool with_double_logits,
                                const ProbeDivision& division,
                                const grow::CentroidOrder& centroids) {
  ParentRecord record{.config = parent.config(),
                      .dtype = parent.dtype(),
                      .division = division,
                      .has_double_logits = with_double_logits};
  std::vector<Pass> passes;
  std::map<int64_t, double> losses;
  OfLayers layers;
  for (const size_t i : division.windows()) {
    passes.emplace_back([&, i] {
      const WindowRecord window =
          record_window(parent, probe.tokens[i], Dispatch::kSorted);
      record.windows.add(window);
      losses[static_cast<int64_t>(i)] =
          cross_entropy(window.logits, probe.targets[i]);
    });
  }
  if (with_double_logits && division.makes_double()) {
    passes.emplace_back(
        [&] { record.double_logits = logits_in_double(parent, probe); });
  }
  if (division.makes_router()) {
    passes.emplace_back([&] {
      layers = look_at_layers(parent, probe.router_tokens, centroids);
    });
  }
  make_passes(parent, division.group(), "proving: the parent on the probe",
              passes);
  record.loss = mean_of_windows(division.group(), losses);
  record.feed_forward_mean =
      share_means(division.group(), layers.means, parent);
  if (centroids.count > 0) {
    record.centroids =
        division.group().size() == 1
            ? layers.centroids
            : tensors_of_holder(division.group(), layers.centroids);
  }
  record.sketches = sketches_of(parent, division.group());
  return record;
}

}  // namespace annuli::verify
