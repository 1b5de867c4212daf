#include "annuli/report/planned.h"

#include "annuli/budget/plan_budget.h"
#include "annuli/core/error.h"

namespace annuli::report {
namespace {

Json shape_data(const ModelConfig& config) {
  Json shape = {{"layers", config.num_hidden_layers},
                {"hidden_size", config.hidden_size},
                {"heads", config.num_attention_heads},
                {"ffn", config.intermediate_size},
                {"vocab_size", config.vocab_size}};
  if (config.is_mixture()) {
    shape["experts"] = config.num_experts;
    shape["experts_per_token"] = config.num_experts_per_tok;
  }
  return shape;
}

// FLOPs of one token in each phase of the history; 0: not known.
std::vector<double> flops_per_token(const RunHistory& history,
                                    const PlannedRun& planned,
                                    bool& is_estimate) {
  const Steps& steps = history.steps;
  std::vector<double> per_token(history.phases.size());
  for (size_t i = 0; i < steps.size(); ++i) {
    double& flops = per_token[steps.phase[i]];
    if (flops > 0) continue;
    const auto found = planned.phases.find(history.phases[steps.phase[i]]);
    if (found == planned.phases.end()) continue;
    flops = found->second.step_flops / steps.own_tokens[i];
  }
  for (const Event& end : history.phase_ends) {
    for (size_t phase = 0; phase < per_token.size(); ++phase) {
      if (per_token[phase] > 0 || end.line["phase"] != history.phases[phase]) {
        continue;
      }
      const auto active = end.line.find("active_parameters");
      if (active == end.line.end() || !fits_in<int64_t>(*active)) continue;
      is_estimate = true;
      per_token[phase] = 6 * active->get<double>();
    }
  }
  return per_token;
}

}  // namespace

PlannedRun planned_run(const Plan& plan) {
  PlannedRun run;
  try {
    for (const budget::PhaseBudget& phase : budget::plan_budget(plan).phases) {
      run.phases[phase.name] = {.shape = shape_data(phase.config),
                                .total_parameters = phase.parameters.total,
                                .active_parameters = phase.parameters.active,
                                .peak_bytes = phase.peak.bytes,
                                .step_flops = phase.step_flops};
    }
  } catch (const UserError& error) {
    run.phases.clear();
    run.missing = error.what();
  }
  return run;
}

std::vector<double> flops_of(const RunHistory& history,
                             const PlannedRun& planned, bool& is_estimate) {
  is_estimate = false;
  const Steps& steps = history.steps;
  const std::vector<double> per_token =
      flops_per_token(history, planned, is_estimate);
  std::vector<double> sums;
  double sum = 0;
  for (size_t i = 0; i < steps.size(); ++i) {
    const double flops = per_token[steps.phase[i]];
    if (!(flops > 0)) return {};
    sum += flops * steps.own_tokens[i];
    sums.push_back(sum);
  }
  return sums;
}

}  // namespace annuli::report
