#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

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

// Runs the child over the probe and shows every window to every check. Returns
// the child's mean loss, in nats.
double run_window_checks(const ParentRecord& parent, const Probe& probe,
                         const Transformer& child, Dispatch dispatch,
                         const std::vector<WindowCheck*>& checks);

}  // namespace annuli::verify
