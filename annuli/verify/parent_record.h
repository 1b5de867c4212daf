#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <vector>

#include "annuli/grow/router_centroids.h"
#include "annuli/model/transformer.h"
#include "annuli/verify/probe.h"
#include "annuli/verify/probe_division.h"
#include "annuli/verify/sketch.h"
#include "annuli/verify/window_file.h"

namespace annuli::verify {

// Runs one window, [1, T].
WindowRecord record_window(const Transformer& model, const at::Tensor& tokens,
                           Dispatch dispatch);

// Mean of -log softmax(logits)[target], nats. logits: [1, T, V].
double cross_entropy(const at::Tensor& logits, const at::Tensor& targets);

// Of values by window, each with the process that ran it, summed in the order
// of the windows.
double mean_of_windows(parallel::ProcessGroup& group,
                       const std::map<int64_t, double>& own);

// The first windows' logits in fp64 arithmetic, as one batch: every weight is
// widened once.
at::Tensor logits_in_double(const Transformer& model, const Probe& probe);

// Runs the tokens [B, T] through the layers one at a time: what a layer did is
// gone before the next one's turn.
void trace_layers(
    const Transformer& model, const at::Tensor& tokens,
    const std::function<void(int64_t layer, const LayerTrace& trace)>& see);

// What of a parent is needed to judge its child. Growth in memory consumes the
// parent, so this is taken before. Move-only.
//
// Processes that prove the growth together take it together. What passes left
// stays where they were made; the rest is the same on all of them.
struct ParentRecord {
  ModelConfig config;
  at::ScalarType dtype = at::kFloat;
  ProbeDivision division;
  WindowFile windows;  // this process', in their order
  bool has_double_logits = false;
  at::Tensor double_logits;  // where the division says so
  double loss = 0;           // mean over the probe, nats
  // Per layer, the mean over router_tokens of what the feed-forward reads, [D]:
  // the direction a random router's rows are made orthogonal to.
  std::vector<at::Tensor> feed_forward_mean;
  std::vector<Sketch> sketches;  // one per row of the parent's table

  // Per layer, centroids of the same (grow/router_centroids.h), [count, D];
  // empty unless asked for.
  std::vector<at::Tensor> centroids;

  static ParentRecord take(const Transformer& parent, const Probe& probe,
                           bool with_double_logits,
                           const grow::CentroidOrder& centroids = {});
  // Collective.
  static ParentRecord take(const Transformer& parent, const Probe& probe,
                           bool with_double_logits,
                           const ProbeDivision& division,
                           const grow::CentroidOrder& centroids = {});
};

}  // namespace annuli::verify
