#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "annuli/grow/recipe.h"
#include "annuli/model/transformer.h"
#include "annuli/verify/probe.h"
#include "annuli/verify/window_check.h"

// Two models over the same windows, a layer of each at a time: nothing is kept
// of a layer once it was compared, and each weight is read once for all
// windows. The vocabulary passes in parts, so that logits never exist as a
// whole.
namespace annuli::verify {

struct SideBySideOptions {
  at::ScalarType arithmetic = at::kFloat;  // or kDouble
  Dispatch dispatch = Dispatch::kSorted;   // of the child
  size_t windows = 0;                      // the first so many; 0: all
  int64_t length = 0;                      // of each its first; 0: all
  double storage_roundoff = 0;             // of the child, see tensor_audit.h
};

struct SideBySide {
  double loss_before = 0;  // the parent's mean over the windows, nats
  double loss_after = 0;   // the child's
  // Standard error of loss_after - loss_before, as if tokens were independent.
  double loss_error = 0;
  double compared = 1;  // share of the positions that were shown
  // The child's chosen experts by layer, [N, k]; empty if dense.
  std::vector<at::Tensor> experts;
};

// All windows have to be of one length.
SideBySide run_side_by_side(const Transformer& parent, const Transformer& child,
                            const grow::Recipe& recipe, const Probe& probe,
                            const SideBySideOptions& options,
                            const std::vector<WindowCheck*>& checks);

// One model by itself: its mean loss over the windows, nats.
double streamed_loss(const Transformer& model, const Probe& probe,
                     at::ScalarType arithmetic);

}  // namespace annuli::verify
