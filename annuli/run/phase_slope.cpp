#include "annuli/run/phase_slope.h"

#include <fmt/core.h>

#include "annuli/budget/phase_steps.h"
#include "annuli/core/say.h"
#include "annuli/train/schedule.h"

namespace annuli::run {
namespace {

// From which on the rate is the phase's own.
int64_t first_full_step(const Plan& plan, size_t phase) {
  const TrainPlan& train = plan.phases[phase].train;
  const auto place = train::place_in_run(plan, phase);
  int64_t step = 1;
  while (step < train.max_steps &&
         train::learning_rate(train, step, place) < train.learning_rate) {
    ++step;
  }
  return step;
}

}  // namespace

PhaseSlope::PhaseSlope(const Plan& plan, const RunState& state)
    : phase_(plan.phases[state.phase]) {
  if (!phase_.train.until) return;
  first_step_ = first_full_step(plan, state.phase);
  const budget::Spent spent = budget::flops_at(plan, state.phase);
  place_ = {.before = spent.before +
                      spent.of_step * static_cast<double>(first_step_ - 1),
            .of_step = spent.of_step};
}

void PhaseSlope::add(RunState& state, double loss) {
  if (!phase_.train.until || state.step < first_step_) return;
  if (!state.loss_bins.add(loss)) return;
  const auto now = fit(state);
  ends_ = now && train::falls_by_less(*now, phase_.train.until->slope) &&
          state.step < phase_.train.max_steps;
}

std::optional<train::LossSlope> PhaseSlope::fit(const RunState& state) const {
  return train::fit_slope(state.loss_bins, place_);
}

Json PhaseSlope::to_json(const RunState& state,
                         const train::LossSlope& fit) const {
  return {{"type", "until"},
          {"phase", phase_.name},
          {"step", state.step},
          {"flops", place_.before +
                        place_.of_step *
                            static_cast<double>(state.step - first_step_ + 1)},
          {"slope", phase_.train.until->slope},
          {"fall", fit.fall},
          {"fall_error", fit.error},
          {"ended", ends_}};
}

void PhaseSlope::print(const Plan& plan, const RunState& state,
                       const train::LossSlope& fit) const {
  const PhasePlan& next = plan.phases[state.phase + 1];
  say("  the loss falls by {:.4f} +- {:.4f} nats per doubling of the "
      "operations, {} {}: phase {} ends after step {}; phase {} has {} steps\n",
      fit.fall, fit.error, ends_ ? "less than" : "not surely less than",
      phase_.train.until->slope, phase_.name, state.step, next.name,
      next.train.max_steps);
}

}  // namespace annuli::run
