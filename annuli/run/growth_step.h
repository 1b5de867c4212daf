#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "annuli/config/plan.h"
#include "annuli/grow/recipe.h"
#include "annuli/model/transformer.h"
#include "annuli/optim/tensor_state.h"
#include "annuli/parallel/process_group.h"
#include "annuli/parallel/solo.h"
#include "annuli/verify/probe.h"
#include "annuli/verify/verify_growth.h"

// The one function that every growth step passes through.
namespace annuli::run {

struct Grown {
  Transformer model;
  std::vector<optim::TensorState> optimizer;
  grow::Recipe recipe;
  std::vector<verify::Verdict> verdicts;
  std::optional<verify::SymmetryControl> control;
  double loss_before = 0;  // on the probe, nats
  double loss_after = 0;   // NaN if the audit failed before it was measured
  double seconds = 0;      // of growth and proof
};

struct GrowthOrder {
  const GrowPlan& grow;
  uint64_t seed;
  // Nats, if the step is not exact; unset: the recipe's.
  std::optional<double> loss_budget;
  std::vector<std::string> allow;       // checks whose failure is a warning
  std::function<void()> between_parts;  // may throw to give up; may be empty
  parallel::ProcessGroup& group = parallel::solo();  // who proves together
  // If set, processes that hold the optimizer's state in parts.
  parallel::ProcessGroup* holders = nullptr;
};

// Collective. Records the parent, grows it (consumed, with its optimizer state)
// and proves the child. Verdicts that fail are returned, not thrown: the caller
// writes them down first.
Grown grow_and_verify(Transformer&& parent,
                      std::vector<optim::TensorState>&& optimizer,
                      const GrowthOrder& order, const verify::Probe& probe);

}  // namespace annuli::run
