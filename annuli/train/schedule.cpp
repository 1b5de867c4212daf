#include "annuli/train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace annuli::train {
namespace {

// Share of the way from step `begin` to `end`, 0 .. 1.
double progress(int64_t step, double begin, double end) {
  if (end <= begin) return step >= end ? 1 : 0;
  return std::clamp((static_cast<double>(step) - begin) / (end - begin), 0.0,
                    1.0);
}

}  // namespace

double learning_rate(const TrainPlan& plan, int64_t step) {
  const double rate = plan.learning_rate;
  if (step <= plan.warmup_steps) {
    return rate * static_cast<double>(step) /
           static_cast<double>(plan.warmup_steps);
  }
  const double lowest = plan.min_lr_ratio * rate;
  const auto warmup = static_cast<double>(plan.warmup_steps);
  const auto last = static_cast<double>(plan.max_steps);
  switch (plan.lr_scheduler_type) {
    case LrSchedulerType::kConstant:
      return rate;
    case LrSchedulerType::kLinear:
      return rate + (lowest - rate) * progress(step, warmup, last);
    case LrSchedulerType::kCosine:
      return lowest + (rate - lowest) *
                          (1 + std::cos(std::numbers::pi *
                                        progress(step, warmup, last))) /
                          2;
    case LrSchedulerType::kWsd: {
      const double decay_begin = last * (1 - plan.decay_ratio);
      return rate + (lowest - rate) * progress(step, decay_begin, last);
    }
  }
  return rate;
}

}  // namespace annuli::train
