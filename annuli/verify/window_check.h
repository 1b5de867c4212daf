#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "annuli/grow/recipe.h"
#include "annuli/model/transformer.h"
#include "annuli/verify/parent_record.h"
#include "annuli/verify/probe.h"
#include "annuli/verify/verdict.h"

namespace annuli::verify {

// A check that looks at the probe window by window, so that several of them
// share one forward pass and no pass has to be kept.
class WindowCheck {
 public:
  virtual ~WindowCheck() = default;

  // Called once per window, in order; `child` ran the same tokens.
  virtual void see(const WindowRecord& parent, const WindowRecord& child) = 0;

  virtual std::vector<Verdict> verdicts() const = 0;
};

struct WindowRun {
  double loss = 0;      // the child's mean over the probe, nats
  double compared = 1;  // share of the probe's positions that were shown
};

// Runs the child over the probe and shows every window to every check.
//
// Where two experts are so nearly tied that rounding decides, parent and child
// may choose differently, and both be right. From the first such token on a
// window is not shown (later tokens attend to it); a choice that differs above
// the rounding bound is a fault and is shown. kFewestCompared says how much
// must remain for a proof.
WindowRun run_window_checks(const ParentRecord& parent,
                            const grow::Recipe& recipe, const Probe& probe,
                            const Transformer& child, Dispatch dispatch,
                            const std::vector<WindowCheck*>& checks);

inline constexpr double kFewestCompared = 0.75;

}  // namespace annuli::verify
