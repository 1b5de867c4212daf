#include "annuli/study/cost.h"

#include <algorithm>

#include "annuli/budget/plan_budget.h"
#include "annuli/core/text.h"

namespace annuli::study {
namespace {

// Operations of a run up to its branch point.
double flops_before(const Plan& plan) {
  const auto stop = branch_point(plan);
  if (!stop) return 0;
  Plan begun = plan;
  begun.phases.back().train.max_steps = stop->step;
  return flops_of(begun);
}

// A machine's seconds for one operation of this run, its growth and evaluation
// among them.
double seconds_per_flop(const Plan& plan, const budget::MachineRates& rates) {
  double seconds = 0;
  for (const budget::PhaseBudget& phase :
       budget::plan_budget(plan, rates).phases) {
    seconds += phase.seconds.value_or(0);
  }
  return seconds / flops_of(plan);
}

// Of one seed: the run as far as it is needed, and its branches.
double flops_of_curve(const Study& study, const StudyRunner& runner,
                      const Arm& arm, int64_t seed,
                      const std::optional<double>& rate) {
  double trunk = 0;
  double branches = 0;
  for (const double point : points_of(study, arm)) {
    const Trial trial{.seed = seed, .rate = rate, .point = point};
    if (rate && runner.result(arm, trial) != nullptr) continue;
    const Plan plan = arm_plan(study, arm, trial);
    if (point == 1) {
      trunk = flops_of(plan);
    } else {
      const double before = flops_before(plan);
      trunk = std::max(trunk, before);
      branches += flops_of(plan) - before;
    }
  }
  return trunk + branches;
}

ArmCost cost_of_arm(const Study& study, const StudyRunner& runner,
                    const Arm& arm, const budget::MachineRates& rates) {
  ArmCost cost{.arm = arm.name};
  const std::vector<int64_t>& seeds = seeds_of(study, arm);
  const Plan whole = arm_plan(study, arm, {.seed = seeds.front()});
  const double of_run = flops_of(whole);
  if (arm.rate_of.empty() && arm.rates.size() > 1) {
    for (const double rate : arm.rates) {
      const Trial trial{.seed = seeds.front(), .rate = rate};
      if (runner.result(arm, trial) == nullptr) ++cost.trials;
    }
  }
  cost.flops = static_cast<double>(cost.trials) * of_run;
  const std::optional<double> rate = runner.best_rate(arm);
  for (const int64_t seed : seeds) {
    const double flops = flops_of_curve(study, runner, arm, seed, rate);
    if (flops > 0) ++cost.curves;
    cost.flops += flops;
  }
  cost.seconds = cost.flops * seconds_per_flop(whole, rates);
  return cost;
}

}  // namespace

std::vector<ArmCost> cost_of(const Study& study, const StudyRunner& runner,
                             const budget::MachineRates& rates) {
  std::vector<ArmCost> costs;
  for (const Arm& arm : study.arms) {
    if (!runner.runs(arm)) continue;
    costs.push_back(cost_of_arm(study, runner, arm, rates));
  }
  return costs;
}

std::string to_text(const std::vector<ArmCost>& costs) {
  std::vector<std::vector<std::string>> rows = {
      {"arm", "rates to try", "curves to run", "FLOPs", "time"}};
  double flops = 0;
  double seconds = 0;
  const auto add = [&](const std::string& name, const std::string& trials,
                       const std::string& curves, double f, double s) {
    rows.push_back(
        {name, trials, curves, fmt::format("{:.3g}", f), format_duration(s)});
  };
  for (const ArmCost& cost : costs) {
    add(cost.arm, std::to_string(cost.trials), std::to_string(cost.curves),
        cost.flops, cost.seconds);
    flops += cost.flops;
    seconds += cost.seconds;
  }
  add("all", "", "", flops, seconds);
  return aligned(rows, Align::kRight);
}

}  // namespace annuli::study
