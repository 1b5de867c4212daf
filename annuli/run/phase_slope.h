#pragma once

#include <optional>

#include "annuli/config/plan.h"
#include "annuli/core/json.h"
#include "annuli/run/run_state.h"
#include "annuli/train/loss_slope.h"

// Whether a phase with `train.until` has come to its end.
namespace annuli::run {

// State: whether the phase ends; losses are in the run's state. Without `until`
// it does nothing.
class PhaseSlope {
 public:
  // Of the state's phase, whose losses count from the first step at the full
  // rate on: neither in a warm-up nor while the rate rises once more.
  PhaseSlope(const Plan& plan, const RunState& state);

  // After a step, with its loss.
  void add(RunState& state, double loss);
  // Whether the loss falls more slowly than the plan asks.
  bool ends_phase() const { return ends_; }
  // Of the losses so far; nullopt without `until`, or with too few of them.
  std::optional<train::LossSlope> fit(const RunState& state) const;

  // A line of the history: the fit, what was asked, whether it ended the phase.
  Json to_json(const RunState& state, const train::LossSlope& fit) const;
  // The same for people, with the steps that the next phase has now.
  void print(const Plan& plan, const RunState& state,
             const train::LossSlope& fit) const;

 private:
  const PhasePlan& phase_;
  train::LossPlace place_;
  int64_t first_step_ = 1;
  bool ends_ = false;
};

}  // namespace annuli::run
