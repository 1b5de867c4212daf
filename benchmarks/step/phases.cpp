#include "benchmarks/step/phases.h"

#include <fmt/core.h>

#include <algorithm>
#include <limits>
#include <set>
#include <vector>

#include "annuli/config/grown_shape.h"
#include "annuli/config/plan.h"
#include "annuli/core/error.h"
#include "annuli/kernels/memory/caching_allocator.h"
#include "annuli/model/tensor_table.h"
#include "annuli/tokenizer/tokenizer.h"
#include "annuli/train/history.h"
#include "annuli/train/schedule.h"
#include "benchmarks/step/bandwidth.h"
#include "benchmarks/step/speed_of_light.h"

namespace annuli::bench {
namespace {

void grow(ModelConfig& config, const GrowPlan& plan) {
  if (plan.chain.empty()) {
    config = grown_shape(config, plan, complain_of_growth);
  }
  for (const GrowthStep& step : plan.chain) {
    config = grown_shape(config, step, complain_of_growth);
  }
}

std::vector<Json> steps_of(const std::vector<Json>& history,
                           const std::string& phase) {
  std::vector<Json> steps;
  for (const Json& record : history) {
    if (record.at("type") == "step" && record.at("phase") == phase) {
      steps.push_back(record);
    }
  }
  if (steps.empty()) user_error("judging phases: no step of {}", phase);
  return steps;
}

double best_replay(const ModelConfig& config, int64_t tokens,
                   const std::vector<Json>& steps) {
  SpeedOfLight light(config, tokens, at::kFloat);
  double best = std::numeric_limits<double>::infinity();
  for (const size_t i : {size_t{0}, steps.size() / 2, steps.size() - 1}) {
    const ExpertRows rows = config.is_mixture()
                                ? steps[i].at("expert_load").get<ExpertRows>()
                                : ExpertRows();
    best = std::min(best, light.replay(rows).seconds);
  }
  return best;
}

// Parameters that a step must update.
int64_t updated(const ModelConfig& config) {
  const int64_t table = config.vocab_size * config.hidden_size;
  return count_parameters(config).total -
         (config.tie_word_embeddings ? 0 : table);
}

Json judge(const PhasePlan& phase, const ModelConfig& config, int64_t length,
           const std::vector<Json>& steps, double bandwidth) {
  double seconds = 0;
  for (const Json& step : steps) {
    seconds += step.at("tokens").get<double>() /
               step.at("tokens_per_second").get<double>();
  }
  const TrainPlan& train = phase.train;
  const double products =
      best_replay(config, train.batch_size * length, steps) *
      static_cast<double>(train.gradient_accumulation_steps);
  const double optimizer =
      static_cast<double>(updated(config) * kAdamwBytes) / bandwidth;
  const auto count = static_cast<double>(steps.size());
  kernels::give_back_memory();
  return {{"phase", phase.name},
          {"steps", steps.size()},
          {"seconds", seconds},
          {"light_seconds", count * (products + optimizer)},
          {"products_seconds_a_step", products},
          {"optimizer_seconds_a_step", optimizer},
          {"seconds_a_step", seconds / count}};
}

void print(const std::string& name, const Json& row) {
  const double seconds = row.at("seconds");
  const double light = row.at("light_seconds");
  fmt::print("{:<10} {:>6} {:>11.2f} {:>11.2f} {:>8.2f}\n", name,
             row.at("steps").get<int64_t>(), seconds, light, seconds / light);
}

void check_is_adamw_in_fp32(const Plan& plan) {
  if (plan.precision != Precision::kFp32 ||
      plan.optimizer.type != OptimizerType::kAdamw ||
      plan.optimizer.state_dtype != StateDtype::kFp32) {
    user_error(
        "judging phases: found another precision or optimizer, expected AdamW "
        "in fp32, whose bytes are known here");
  }
}

// Growth with its proofs, and those at the phases' ends.
double seconds_of_proofs(const std::vector<Json>& history) {
  double seconds = 0;
  for (const Json& line : history) {
    if (line.value("type", "") == "boundary") {
      seconds += line.value("seconds", 0.0);
    }
    seconds += line.value("proof_seconds", 0.0);
  }
  return seconds;
}

}  // namespace

Json judge_phases(const fs::path& run_folder) {
  const Plan plan = load_plan(run_folder / "plan.yaml");
  check_is_adamw_in_fp32(plan);
  const std::vector<Json> history =
      train::read_history(run_folder / "training_history.jsonl");
  ModelConfig config =
      model_config(plan.model, load_tokenizer(plan.tokenizer)->vocab_size());
  const double bandwidth = measure_bandwidth();
  fmt::print("{:.1f} GB/s\n{:<10} {:>6} {:>11} {:>11} {:>8}\n", bandwidth / 1e9,
             "phase", "steps", "seconds", "light", "ratio");
  Json total = {{"steps", 0}, {"seconds", 0.0}, {"light_seconds", 0.0}};
  Json phases = Json::array();
  for (const PhasePlan& phase : plan.phases) {
    if (phase.grow) grow(config, *phase.grow);
    phases.push_back(judge(phase, config,
                           train::window_length(plan, phase.train),
                           steps_of(history, phase.name), bandwidth));
    print(phase.name, phases.back());
    total["steps"] =
        total["steps"].get<int64_t>() + phases.back()["steps"].get<int64_t>();
    for (const char* key : {"seconds", "light_seconds"}) {
      total[key] = total[key].get<double>() + phases.back()[key].get<double>();
    }
  }
  print("all", total);
  total["proof_seconds"] = seconds_of_proofs(history);
  fmt::print("growth and proofs {:.2f} s\n",
             total["proof_seconds"].get<double>());
  return {{"bandwidth", bandwidth}, {"phases", phases}, {"total", total}};
}

}  // namespace annuli::bench
