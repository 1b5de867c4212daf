#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <vector>

#include "annuli/grow/recipe.h"
#include "annuli/model/shared_work.h"
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
// come in order; windows may take turns. What it has found does not depend on
// the order of the windows.
class WindowCheck {
 public:
  virtual ~WindowCheck() = default;

  virtual void see(const LayerView& view) = 0;
  // Logits [1, T, V'] of a window: of the whole vocabulary, or part by part.
  virtual void see_logits(int64_t window, const at::Tensor& parent,
                          const at::Tensor& child) {}

  // What it has seen, in numbers; and, added to that, what the same check of
  // another process has seen of other windows.
  virtual std::vector<double> seen() const = 0;
  virtual void add_seen(const std::vector<double>& other) = 0;

  virtual std::vector<Verdict> verdicts() const = 0;
};

// From now on each check has seen what the same check has seen in all processes
// of the group. Collective.
void share_seen(parallel::ProcessGroup& group,
                const std::vector<WindowCheck*>& checks);

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

  // Positions whose logits were shown, or would be, of all that there were.
  struct Count {
    int64_t compared = 0;
    int64_t all = 0;

    double share() const {
      return all == 0
                 ? 1
                 : static_cast<double>(compared) / static_cast<double>(all);
    }
  };
  Count count() const;

 private:
  int64_t& tokens_of(int64_t window, int64_t all);

  const grow::Recipe& recipe_;
  double storage_roundoff_;
  std::vector<WindowCheck*> checks_;
  std::map<int64_t, Count> windows_;
};

inline constexpr double kFewestCompared = 0.75;

// Of a run in which not everything could be compared.
Verdict compared_share(double share);

struct WindowRun {
  double loss = 0;      // the child's mean over the probe, nats
  double compared = 1;  // share of the probe's positions that were shown
};

// The child in memory, run window by window beside the parent's record, where
// the processes that took it share the windows.
class WindowPasses {
 public:
  // All are borrowed.
  WindowPasses(const ParentRecord& parent, const grow::Recipe& recipe,
               const Probe& probe, const Transformer& child, Dispatch dispatch,
               std::vector<WindowCheck*> checks);

  // Those of this process, for make_passes.
  void add_to(std::vector<Pass>& passes);
  // Once they were made, on all processes: the checks have seen all windows.
  WindowRun finish();

 private:
  void pass(size_t i);

  const ParentRecord& parent_;
  const grow::Recipe& recipe_;
  const Probe& probe_;
  const Transformer& child_;
  Dispatch dispatch_;
  std::vector<WindowCheck*> checks_;
  Comparison comparison_;
  std::map<int64_t, double> losses_;  // of this process' windows
};

// The same with passes of its own.
WindowRun run_window_checks(const ParentRecord& parent,
                            const grow::Recipe& recipe, const Probe& probe,
                            const Transformer& child, Dispatch dispatch,
                            const std::vector<WindowCheck*>& checks);

}  // namespace annuli::verify
