#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "annuli/grow/recipe.h"
#include "annuli/model/transformer.h"
#include "annuli/verify/layer_pairs.h"
#include "annuli/verify/parent_record.h"
#include "annuli/verify/probe.h"
#include "annuli/verify/verdict.h"

namespace annuli::verify {

// One layer of one window in both models, cut to the tokens that can be
// compared: T of q, k, ffn_input and router, T' <= T of the residual stream.
struct LayerView {
  int64_t window;
  LayerPair layers;
  const LayerTrace& parent;
  const LayerTrace& child;
};

// A check that looks at the probe layer by layer, so that several of them share
// one forward pass and nothing of a pass has to be kept. The layers of a window
// come in order; windows may take turns.
class WindowCheck {
 public:
  virtual ~WindowCheck() = default;

  virtual void see(const LayerView& view) = 0;
  // Logits [1, T, V'] of a window: of the whole vocabulary, or part by part.
  virtual void see_logits(int64_t window, const at::Tensor& parent,
                          const at::Tensor& child) {}

  virtual std::vector<Verdict> verdicts() const = 0;
};

// Shows layers and logits to every check.
//
// Where two experts are so nearly tied that rounding decides, parent and child
// may choose differently, and both be right. From the first such token on a
// window is not shown any more (later tokens attend to it); a choice that
// differs above the rounding bound is a fault and is shown. kFewestCompared
// says how much must remain for a proof.
class Comparison {
 public:
  // `recipe` and `checks` are borrowed.
  Comparison(const grow::Recipe& recipe, double storage_roundoff,
             std::vector<WindowCheck*> checks);

  void see_layer(int64_t window, LayerPair layers, const LayerTrace& parent,
                 const LayerTrace& child);
  void see_logits(int64_t window, const at::Tensor& parent,
                  const at::Tensor& child);

  // Share of the probe's positions whose logits were shown, or would be.
  double compared() const;

 private:
  int64_t& tokens_of(int64_t window, int64_t all);

  const grow::Recipe& recipe_;
  double storage_roundoff_;
  std::vector<WindowCheck*> checks_;
  std::vector<int64_t> tokens_;  // of each window, that can be compared
  std::vector<int64_t> all_;
};

inline constexpr double kFewestCompared = 0.75;

// Of a run in which not everything could be compared.
Verdict compared_share(double share);

struct WindowRun {
  double loss = 0;      // the child's mean over the probe, nats
  double compared = 1;  // share of the probe's positions that were shown
};

// Runs the child in memory, window by window, beside the parent's record.
WindowRun run_window_checks(const ParentRecord& parent,
                            const grow::Recipe& recipe, const Probe& probe,
                            const Transformer& child, Dispatch dispatch,
                            const std::vector<WindowCheck*>& checks);

}  // namespace annuli::verify
