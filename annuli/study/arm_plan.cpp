#include "annuli/study/arm_plan.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "annuli/budget/phase_steps.h"
#include "annuli/config/read_plan.h"
#include "annuli/core/error.h"
#include "annuli/train/schedule.h"

namespace annuli::study {
namespace {

// What is left of a share that begins at `before` when the run ends at `point`.
double cut_share(double share, double before, double point) {
  constexpr double kRounding = 1e-9;
  const double left = std::min(share, point - before);
  return left > kRounding ? left : 0;
}

void cut(Plan& plan, double point) {
  double before = 0;
  std::vector<PhasePlan> kept;
  for (PhasePlan& phase : plan.phases) {
    if (!phase.train.share) {
      kept.push_back(phase);  // of a few steps, as a control has them
      continue;
    }
    const double share = *phase.train.share;
    phase.train.share = cut_share(share, before, point);
    if (*phase.train.share > 0) kept.push_back(phase);
    before += share;
  }
  plan.phases = std::move(kept);
}

// The warm-up of a whole run, in tokens: that of one that is cut too, for it is
// the same run until it branches.
std::string warmup_of(const Plan& whole) {
  for (size_t i = 0; i < whole.phases.size(); ++i) {
    const auto place = train::place_in_run(whole, i);
    if (place) return fmt::format("{} tokens", place->warmup_end);
  }
  return whole.schedule->warmup;
}

void set_rate(Plan& plan, const std::optional<double>& rate) {
  if (!rate) return;
  const double factor = *rate / plan.phases.front().train.learning_rate;
  for (PhasePlan& phase : plan.phases) phase.train.learning_rate *= factor;
  plan.phases.front().train.learning_rate = *rate;
}

// Every point of a curve is cut by shares, and so are the operations of arms.
void refuse_until(const Study& study, const Arm& arm, const Plan& plan) {
  for (const PhasePlan& phase : plan.phases) {
    if (!phase.train.until) continue;
    user_error(
        "reading the study {}: arm {}: found until in phase {}, expected "
        "shares alone, by which the points of arms are compared",
        study.name, arm.name, phase.name);
  }
}

void require_share(const Study& study, const Arm& arm, const Plan& plan) {
  const bool has_share = std::ranges::any_of(
      plan.phases,
      [](const PhasePlan& p) { return p.train.share.has_value(); });
  if (has_share && plan.schedule) return;
  user_error(
      "reading the study {}: arm {}: found no {}, expected {}", study.name,
      arm.name, has_share ? "schedule" : "phase with a share",
      has_share ? "one in the plan, so that every point is a finished model"
                : "shares of the operations in its phases");
}

}  // namespace

Plan arm_plan(const Study& study, const Arm& arm, const Trial& trial) {
  YamlTree tree = study.plan;
  if (arm.plan.kind == YamlTree::Kind::kMap) lay_over(tree, arm.plan);
  apply_override(tree,
                 "budget={flops: " + fmt::format("{:.17e}", study.flops) + "}");
  if (tree.find("name") == nullptr) apply_override(tree, "name=" + arm.name);
  Plan plan = plan_of(tree);
  require_share(study, arm, plan);
  refuse_until(study, arm, plan);
  plan.seed = trial.seed;
  set_rate(plan, trial.rate);
  Plan whole = budget::with_steps(plan);
  whole.schedule->warmup = plan.schedule->warmup = warmup_of(whole);
  if (trial.point == 1) return whole;
  cut(plan, trial.point);
  return budget::with_steps(std::move(plan));
}

std::optional<run::StopPoint> branch_point(const Plan& at_point) {
  const size_t last = at_point.phases.size() - 1;
  const auto place = train::place_in_run(at_point, last);
  ANNULI_CHECK(place.has_value(), "an arm without a schedule");
  const double tokens = place->decay_begin - place->before;
  const auto step = static_cast<int64_t>(std::floor(tokens / place->of_step));
  // A decay that begins with its phase: the first step of both is the same only
  // at the end of the phase before, where no run can stop.
  if (step < 1 || step >= at_point.phases[last].train.max_steps) {
    return std::nullopt;
  }
  return run::StopPoint{.phase = last, .step = step};
}

double flops_of(const Plan& plan, bool source) {
  const std::vector<double> of_steps = budget::flops_of_steps(plan);
  double sum = 0;
  double before_growth = 0;
  for (size_t i = 0; i < of_steps.size(); ++i) {
    if (plan.phases[i].grow) before_growth = sum;
    sum += of_steps[i] * static_cast<double>(plan.phases[i].train.max_steps);
  }
  return source ? before_growth : sum;
}

}  // namespace annuli::study
