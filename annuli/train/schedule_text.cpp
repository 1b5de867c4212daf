#include "annuli/train/schedule_text.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "annuli/train/schedule.h"

namespace annuli::train {
namespace {

// Steps at which the rate may turn, the first and the last among them.
std::set<int64_t> corners(const TrainPlan& train,
                          const std::optional<PlaceInRun>& place) {
  std::set<int64_t> steps = {1, train.max_steps};
  const auto add = [&](double step) {
    const double last = static_cast<double>(train.max_steps);
    if (step > 1 && step < last) steps.insert(std::llround(step));
  };
  add(static_cast<double>(train.rewarm_steps));
  const auto step_at = [&](double tokens) {
    return (tokens - place->before) / place->of_step;
  };
  const LrSchedulerType type = place ? place->type : train.lr_scheduler_type;
  add(place ? std::ceil(step_at(place->warmup_end))
            : static_cast<double>(train.warmup_steps));
  if (type == LrSchedulerType::kWsd) {
    const auto last = static_cast<double>(train.max_steps);
    add(std::floor(place ? step_at(place->decay_begin)
                         : last * (1 - train.decay_ratio)));
  }
  return steps;
}

std::string part_text(double before, double after, int64_t step) {
  if (after > before)
    return fmt::format("rises to {:.1e} by step {}", after, step);
  if (after < before)
    return fmt::format("falls to {:.1e} by step {}", after, step);
  return fmt::format("holds at {:.1e} to step {}", after, step);
}

std::string phase_text(const TrainPlan& train,
                       const std::optional<PlaceInRun>& place) {
  std::vector<std::string> parts;
  double before = learning_rate(train, 1, place);
  for (const int64_t step : corners(train, place)) {
    const double after = learning_rate(train, step, place);
    if (step > 1 || train.max_steps == 1) {
      parts.push_back(part_text(before, after, step));
    }
    before = after;
  }
  if (train.rewarm_of == RewarmOf::kNew) {
    parts.push_back(fmt::format("what growth added rises from 0 by step {}",
                                train.rewarm_steps));
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

}  // namespace

std::vector<std::string> schedule_text(const Plan& plan) {
  std::vector<std::string> phases;
  for (size_t i = 0; i < plan.phases.size(); ++i) {
    phases.push_back(phase_text(plan.phases[i].train, place_in_run(plan, i)));
  }
  return phases;
}

}  // namespace annuli::train
