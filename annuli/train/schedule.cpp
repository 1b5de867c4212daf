#include "annuli/train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "annuli/config/amount.h"
#include "annuli/core/error.h"

namespace annuli::train {
namespace {

// The shape of a schedule: `at` lies between 0 and `end`.
struct Shape {
  LrSchedulerType type;
  double rate;
  double lowest;
  double warmup_end;
  double decay_begin;
  double end;
};

// Share of the way from `begin` to `end`, 0 .. 1.
double progress(double at, double begin, double end) {
  if (end <= begin) return at >= end ? 1 : 0;
  return std::clamp((at - begin) / (end - begin), 0.0, 1.0);
}

double rate_at(const Shape& shape, double at) {
  const double rate = shape.rate;
  const double lowest = shape.lowest;
  if (at <= shape.warmup_end) return rate * at / shape.warmup_end;
  switch (shape.type) {
    case LrSchedulerType::kConstant:
      return rate;
    case LrSchedulerType::kLinear:
      return rate + (lowest - rate) * progress(at, shape.warmup_end, shape.end);
    case LrSchedulerType::kCosine:
      return lowest +
             (rate - lowest) *
                 (1 + std::cos(std::numbers::pi *
                               progress(at, shape.warmup_end, shape.end))) /
                 2;
    case LrSchedulerType::kWsd:
      return rate +
             (lowest - rate) * progress(at, shape.decay_begin, shape.end);
  }
  return rate;
}

double tokens_of(const Plan& plan, const PhasePlan& phase) {
  return static_cast<double>(phase.train.max_steps) *
         tokens_of_step(plan, phase.train);
}

// Tokens of so many steps, the phases taken in the order given.
template <typename Phases>
double tokens_of_steps(const Plan& plan, const Phases& phases, double steps) {
  double tokens = 0;
  for (const PhasePlan* phase : phases) {
    const double here =
        std::min(steps, static_cast<double>(phase->train.max_steps));
    tokens += here * tokens_of_step(plan, phase->train);
    steps -= here;
  }
  return tokens;
}

double tokens_in(const std::string& text, const Plan& plan, double total,
                 bool from_end) {
  const std::optional<Amount> amount = parse_amount(text);
  ANNULI_CHECK(amount.has_value(), "an unread amount {}", text);
  if (amount->unit == Amount::Unit::kShare) return amount->value * total;
  if (amount->unit == Amount::Unit::kTokens) return amount->value;
  std::vector<const PhasePlan*> phases;
  for (const PhasePlan& phase : plan.phases) phases.push_back(&phase);
  if (from_end) std::ranges::reverse(phases);
  return tokens_of_steps(plan, phases, amount->value);
}

}  // namespace

int64_t window_length(const Plan& plan, const TrainPlan& train) {
  return train.sequence_length.value_or(plan.data.sequence_length);
}

double tokens_of_step(const Plan& plan, const TrainPlan& train) {
  return static_cast<double>(train.batch_size *
                             train.gradient_accumulation_steps *
                             window_length(plan, train));
}

std::optional<PlaceInRun> place_in_run(const Plan& plan, size_t phase) {
  const TrainPlan& train = plan.phases.at(phase).train;
  if (!plan.schedule || train.schedule == ScheduleOf::kPhase) return {};
  PlaceInRun place{.type = plan.schedule->type,
                   .min_lr_ratio = plan.schedule->min_lr_ratio,
                   .of_step = tokens_of_step(plan, train)};
  double grown_at = 0;
  for (size_t i = 0; i < plan.phases.size(); ++i) {
    if (i == phase) place.before = place.end;
    if (plan.phases[i].grow) grown_at = place.end;
    place.end += tokens_of(plan, plan.phases[i]);
  }
  place.warmup_end =
      tokens_in(plan.schedule->warmup, plan, place.end, /*from_end=*/false);
  const double decay =
      tokens_in(plan.schedule->decay, plan, place.end, /*from_end=*/true);
  place.decay_begin = std::max(place.end - decay, grown_at);
  return place;
}

double learning_rate(const TrainPlan& plan, int64_t step,
                     const std::optional<PlaceInRun>& run) {
  const auto at = static_cast<double>(step);
  double rate = 0;
  if (run) {
    rate = rate_at({.type = run->type,
                    .rate = plan.learning_rate,
                    .lowest = run->min_lr_ratio * plan.learning_rate,
                    .warmup_end = run->warmup_end,
                    .decay_begin = run->decay_begin,
                    .end = run->end},
                   run->before + at * run->of_step);
  } else {
    const auto last = static_cast<double>(plan.max_steps);
    rate = rate_at({.type = plan.lr_scheduler_type,
                    .rate = plan.learning_rate,
                    .lowest = plan.min_lr_ratio * plan.learning_rate,
                    .warmup_end = static_cast<double>(plan.warmup_steps),
                    .decay_begin = last * (1 - plan.decay_ratio),
                    .end = last},
                   at);
  }
  if (plan.rewarm_of == RewarmOf::kNew) return rate;
  if (step >= plan.rewarm_steps) return rate;
  return rate * at / static_cast<double>(plan.rewarm_steps);
}

double share_of_new(const TrainPlan& plan, int64_t step) {
  if (plan.rewarm_of == RewarmOf::kAll) return 1;
  if (step >= plan.rewarm_steps) return 1;
  return static_cast<double>(step) / static_cast<double>(plan.rewarm_steps);
}

}  // namespace annuli::train
