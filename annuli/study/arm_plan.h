#pragma once

#include <optional>

#include "annuli/config/plan.h"
#include "annuli/run/plan_runner.h"
#include "annuli/study/study_plan.h"

// The plan of one run of an arm.
namespace annuli::study {

struct Trial {
  int64_t seed = 0;
  std::optional<double> rate;  // of the first phase; nullopt: the plan's
  double point = 1;            // share of the study's operations
  bool operator==(const Trial&) const = default;
};

// A run that ends at `point`: phases are cut where the arm's shares reach it,
// those behind it left out, and the decay of the schedule comes at its end,
// while its warm-up is that of the whole run. So each point of a curve is a
// finished model. `max_steps` is set in each phase.
// Throws UserError if the arm's plan cannot be one.
Plan arm_plan(const Study& study, const Arm& arm, const Trial& trial);

// The last step after which the run that ends at `point` is the one that ends
// at 1: before its rate decays. nullopt if there is none, or if it is that run.
//
// The one is run up to there and copied (a branch), and the copy is trained to
// its end.
std::optional<run::StopPoint> branch_point(const Plan& at_point);

// Operations of all steps (budget/phase_steps.h); of the phases before the last
// one that grows alone, with `source`.
double flops_of(const Plan& plan, bool source = false);

}  // namespace annuli::study
