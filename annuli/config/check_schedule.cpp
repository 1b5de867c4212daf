#include "annuli/config/check_schedule.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include "annuli/config/amount.h"
#include "annuli/core/quote.h"

namespace annuli {
namespace {

// In a run with a schedule a phase says nothing of its own, unless it says so.
void check_one_schedule(const Complain& complain, const std::string& key,
                        const TrainPlan& train) {
  if (train.schedule == ScheduleOf::kPhase) return;
  const TrainPlan defaults;
  const auto refuse = [&](const char* field, bool is_given) {
    if (!is_given) return;
    complain(fmt::format("{}.{}", key, field),
             "found beside the plan's schedule, expected one of the two; with "
             "schedule: phase the phase has its own");
  };
  refuse("lr_scheduler_type",
         train.lr_scheduler_type != defaults.lr_scheduler_type);
  refuse("warmup_steps", train.warmup_steps != defaults.warmup_steps);
  refuse("min_lr_ratio", train.min_lr_ratio != defaults.min_lr_ratio);
  refuse("decay_ratio", train.decay_ratio != defaults.decay_ratio);
}

void check_amounts(const Complain& complain, const Plan& plan) {
  const auto check_amount = [&](const char* key, const std::string& text) {
    if (parse_amount(text)) return;
    complain(key, fmt::format("found {}, expected steps, a share or tokens: "
                              "500, 2% or 1e6 tokens",
                              quote(text)));
  };
  check_amount("schedule.warmup", plan.schedule->warmup);
  check_amount("schedule.decay", plan.schedule->decay);
}

// A phase has one measure of its length, and a share of what there is.
void check_length(const Complain& complain, const std::string& key,
                  const TrainPlan& train, const Plan& plan) {
  const std::array<std::pair<const char*, bool>, 3> measures = {
      {{"max_tokens", train.max_tokens.has_value()},
       {"max_flops", train.max_flops.has_value()},
       {"share", train.share.has_value()}}};
  const char* first = nullptr;
  for (const auto& [name, is_given] : measures) {
    if (!is_given) continue;
    if (first != nullptr) {
      complain(fmt::format("{}.{}", key, name),
               fmt::format("found beside {}, expected one of the two", first));
    }
    first = name;
  }
  if (train.share && !plan.budget) {
    complain(key + ".share", "found without the plan's budget, expected both");
  }
}

bool holds_its_rate(const Plan& plan, const TrainPlan& train) {
  const LrSchedulerType type =
      plan.schedule && train.schedule == ScheduleOf::kRun
          ? plan.schedule->type
          : train.lr_scheduler_type;
  // The run's decays after its last growth, a phase's at the phase's end.
  return type == LrSchedulerType::kConstant ||
         (type == LrSchedulerType::kWsd && plan.schedule &&
          train.schedule == ScheduleOf::kRun);
}

// What follows must not depend on when the phase ends, but for its length.
void check_until(const Complain& complain, const Plan& plan, size_t phase) {
  const TrainPlan& train = plan.phases[phase].train;
  if (!train.until) return;
  const std::string key = fmt::format("phases.{}.train.until", phase);
  if (phase + 1 == plan.phases.size()) {
    complain(key,
             "found in the last phase, expected a phase that another one "
             "follows");
  }
  if (!holds_its_rate(plan, train)) {
    complain(key,
             "found with a rate that decays, expected one that holds: the "
             "plan's schedule wsd or constant, or lr_scheduler_type constant");
  }
  for (size_t next = phase + 1; next < plan.phases.size(); ++next) {
    if (plan.phases[next].grow) return;
  }
  if (plan.schedule) {
    complain(key,
             "found in a phase that no growth follows, where the plan's "
             "schedule may decay; expected it before growth");
  }
}

}  // namespace

void check_schedule(const Complain& complain, const Plan& plan) {
  if (plan.schedule) check_amounts(complain, plan);
  for (size_t i = 0; i < plan.phases.size(); ++i) {
    const TrainPlan& train = plan.phases[i].train;
    const std::string key = fmt::format("phases.{}.train", i);
    if (plan.schedule) check_one_schedule(complain, key, train);
    check_length(complain, key, train, plan);
    check_until(complain, plan, i);
  }
}

void check_budget(const Complain& complain, const Plan& plan) {
  double shares = 0;
  for (const PhasePlan& phase : plan.phases) {
    shares += phase.train.share.value_or(0);
  }
  constexpr double kRounding = 1e-9;  // of a few sums of numbers below 1
  if (shares > 1 + kRounding) {
    complain("phases", fmt::format("found shares of the budget that sum to {}, "
                                   "expected at most 1",
                                   shares));
  }
  if (!plan.budget) return;
  const bool has_until = std::ranges::any_of(
      plan.phases,
      [](const PhasePlan& phase) { return phase.train.until.has_value(); });
  if (shares == 0 && !has_until) {
    complain("budget", "found no phase with a share of it, expected some");
  }
  if (plan.budget->tokens.has_value() == plan.budget->flops.has_value()) {
    complain("budget", "expected one of tokens, flops");
  }
}

}  // namespace annuli
