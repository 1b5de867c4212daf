#pragma once

#include <vector>

#include "annuli/config/plan.h"

namespace annuli::budget {

// The model that the first phase starts from. Reads the tokenizer's size or the
// config of the model that the plan names; throws UserError if it cannot.
ModelConfig config_at_start(const Plan& plan);

// The model that each phase trains.
std::vector<ModelConfig> configs_of_phases(const Plan& plan);

// Operations of training on `tokens` tokens: three forward passes each
// (forward_flops), for a backward pass is two. What a run computes besides, to
// save memory or to prove growth, is not counted: a budget is the same for all.
double training_flops(const ModelConfig& config, int64_t length, double tokens);

// The plan with `max_steps` in every phase, in place of `max_tokens`,
// `max_flops` and `share`, and without the budget, unless a phase may end
// early (`train.until`).
//
// Each phase takes as many whole steps as fit. With shares what one leaves
// (less than a step) goes to the next, so that the run spends its budget but
// for less than one step of its last phase. Throws UserError if a phase has not
// enough for one step.
Plan with_steps(Plan plan);

// A phase ends after so many of its steps. With a budget, the next phase has
// as many more as it can do with what is left, in the budget's unit; without
// one they are not done.
void end_early(Plan& plan, size_t phase, int64_t steps);

// Operations of one step of each phase.
std::vector<double> flops_of_steps(const Plan& plan);

// Operations of the phases before, and of one step of this one.
struct Spent {
  double before = 0;
  double of_step = 0;
};
Spent flops_at(const Plan& plan, size_t phase);

}  // namespace annuli::budget
