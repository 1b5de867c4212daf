#include "annuli/budget/phase_steps.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "annuli/budget/compute.h"
#include "annuli/checkpoint/model_file.h"
#include "annuli/core/error.h"
#include "annuli/grow/coded_growth.h"
#include "annuli/tokenizer/tokenizer.h"
#include "annuli/train/schedule.h"

namespace annuli::budget {
namespace {

double flops_of_step(const Plan& plan, const PhasePlan& phase,
                     const ModelConfig& config) {
  return training_flops(config, train::window_length(plan, phase.train),
                        train::tokens_of_step(plan, phase.train));
}

bool has_length(const PhasePlan& phase) {
  const TrainPlan& train = phase.train;
  return train.max_tokens || train.max_flops || train.share;
}

// Of one phase: what a step costs, in the units of what it may spend.
class Spending {
 public:
  explicit Spending(const Plan& plan) : plan_(plan) {}

  int64_t steps(const PhasePlan& phase, const ModelConfig& config) {
    const TrainPlan& train = phase.train;
    const double tokens = train::tokens_of_step(plan_, train);
    const double flops = flops_of_step(plan_, phase, config);
    if (train.max_tokens) return whole(phase, *train.max_tokens, tokens);
    if (train.max_flops) return whole(phase, *train.max_flops, flops);
    if (!train.share) return train.max_steps;
    const double cost = plan_.budget->flops ? flops : tokens;
    const double all =
        plan_.budget->flops.value_or(plan_.budget->tokens.value_or(0));
    given_ += *train.share * all;
    const int64_t count = whole(phase, given_ - spent_, cost);
    spent_ += static_cast<double>(count) * cost;
    return count;
  }

 private:
  static int64_t whole(const PhasePlan& phase, double budget, double cost) {
    // Shares such as 0.1 + 0.2 miss a whole number by a few roundings.
    const double steps = std::floor(budget / cost * (1 + 1e-12));
    if (steps >= 1 && steps <= 1e9) return static_cast<int64_t>(steps);
    user_error(
        "planning phase {}: found a budget of {:.3g}, expected 1 to 1e9 steps "
        "of {:.3g} each; change it, or batch_size",
        phase.name, budget, cost);
  }

  const Plan& plan_;
  double given_ = 0;  // what the shares so far add up to
  double spent_ = 0;  // of that
};

}  // namespace

ModelConfig config_at_start(const Plan& plan) {
  if (!plan.model.from.empty()) return ModelFile(plan.model.from).config();
  const int64_t vocab_size = plan.model.vocab_size
                                 ? *plan.model.vocab_size
                                 : load_tokenizer(plan.tokenizer)->vocab_size();
  return model_config(plan.model, vocab_size);
}

double training_flops(const ModelConfig& config, int64_t length,
                      double tokens) {
  return 3 * forward_flops(config, length) * tokens;
}

std::vector<ModelConfig> configs_of_phases(const Plan& plan) {
  std::vector<ModelConfig> configs;
  ModelConfig config = config_at_start(plan);
  for (const PhasePlan& phase : plan.phases) {
    if (phase.grow) {
      config =
          grow::recipe_of(*phase.grow, config, 0, number_types(plan.precision))
              .child;
    }
    configs.push_back(config);
  }
  return configs;
}

Plan with_steps(Plan plan) {
  if (std::ranges::none_of(plan.phases, has_length)) return plan;
  const Plan given = plan;
  Spending spending(given);
  const std::vector<ModelConfig> configs = configs_of_phases(plan);
  for (size_t i = 0; i < configs.size(); ++i) {
    TrainPlan& train = plan.phases[i].train;
    train.max_steps = spending.steps(given.phases[i], configs[i]);
    train.max_tokens = train.max_flops = train.share = {};
  }
  const bool may_end_early = std::ranges::any_of(
      plan.phases,
      [](const PhasePlan& p) { return p.train.until.has_value(); });
  if (!may_end_early) plan.budget.reset();
  check(plan);
  return plan;
}

void end_early(Plan& plan, size_t phase, int64_t steps) {
  TrainPlan& train = plan.phases.at(phase).train;
  const int64_t left = std::exchange(train.max_steps, steps) - steps;
  if (!plan.budget) return;
  std::vector<double> costs;
  if (plan.budget->tokens) {
    for (const PhasePlan& one : plan.phases) {
      costs.push_back(train::tokens_of_step(plan, one.train));
    }
  } else {
    costs = flops_of_steps(plan);
  }
  plan.phases.at(phase + 1).train.max_steps += static_cast<int64_t>(std::floor(
      static_cast<double>(left) * costs.at(phase) / costs.at(phase + 1)));
}

std::vector<double> flops_of_steps(const Plan& plan) {
  const std::vector<ModelConfig> configs = configs_of_phases(plan);
  std::vector<double> flops;
  for (size_t i = 0; i < configs.size(); ++i) {
    flops.push_back(flops_of_step(plan, plan.phases[i], configs[i]));
  }
  return flops;
}

Spent flops_at(const Plan& plan, size_t phase) {
  const std::vector<double> of_steps = flops_of_steps(plan);
  Spent spent{.of_step = of_steps.at(phase)};
  for (size_t i = 0; i < phase; ++i) {
    spent.before +=
        of_steps[i] * static_cast<double>(plan.phases[i].train.max_steps);
  }
  return spent;
}

}  // namespace annuli::budget
