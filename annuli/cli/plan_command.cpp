#include <fmt/core.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "annuli/budget/budget_table.h"
#include "annuli/budget/phase_steps.h"
#include "annuli/budget/plan_budget.h"
#include "annuli/cli/commands.h"
#include "annuli/cli/options.h"
#include "annuli/config/check_gates.h"
#include "annuli/config/plan.h"
#include "annuli/core/error.h"
#include "annuli/core/json.h"
#include "annuli/core/quote.h"
#include "annuli/core/text.h"
#include "annuli/kernels/threads.h"
#include "annuli/model/number_types.h"
#include "annuli/parallel/launcher.h"
#include "annuli/train/schedule_text.h"

namespace annuli::cli {
namespace {

struct PlanOptions {
  std::string plan;
  std::vector<std::string> set;
  std::string memory_limit;
  std::string processes = "1";
  std::string bandwidth;
  std::string latency;
  std::string speed;
  std::string step_time;
  bool no_measure = false;
  bool json = false;
};

budget::Sharing sharing_of(const PlanOptions& options) {
  budget::Sharing sharing = {.processes =
                                 parallel::process_count(options.processes)};
  if (!options.bandwidth.empty()) {
    const auto bytes = parse_bytes(options.bandwidth);
    if (!bytes || *bytes <= 0) {
      user_error("--bandwidth: found {}, expected bytes a second like 1.25GB",
                 quote(options.bandwidth));
    }
    sharing.link.bytes_per_second = static_cast<double>(*bytes);
  }
  if (!options.latency.empty()) {
    const auto seconds = parse_duration(options.latency);
    if (!seconds) {
      user_error("--latency: found {}, expected a time like 50us or 0.1ms",
                 quote(options.latency));
    }
    sharing.link.latency = *seconds;
  }
  return sharing;
}

std::optional<budget::MachineRates> rates_of(const PlanOptions& options,
                                             const Plan& plan) {
  if (options.no_measure) return {};
  if (options.speed.empty()) {
    return budget::measure_rates(number_types(plan.precision).products);
  }
  const auto rates = budget::parse_rates(options.speed);
  if (!rates) {
    user_error(
        "--speed: found {}, expected operations and bytes a second like "
        "300T,2TB",
        quote(options.speed));
  }
  return rates;
}

std::optional<double> step_time_of(const PlanOptions& options) {
  if (options.step_time.empty()) return std::nullopt;
  if (options.no_measure) {
    user_error("--step-time: found --no-measure too, which estimates no times");
  }
  const auto seconds = parse_duration(options.step_time);
  if (!seconds || *seconds <= 0) {
    user_error("--step-time: found {}, expected a time like 4.9s or 800ms",
               quote(options.step_time));
  }
  return seconds;
}

std::string rate_table(const Plan& plan) {
  const std::vector<std::string> rates = train::schedule_text(plan);
  std::vector<std::vector<std::string>> rows = {
      {"phase", "steps", "learning rate"}};
  for (size_t i = 0; i < rates.size(); ++i) {
    const PhasePlan& phase = plan.phases[i];
    rows.push_back({phase.name,
                    fmt::format("{}{}", phase.train.until ? "at most " : "",
                                phase.train.max_steps),
                    rates[i]});
  }
  return aligned(rows, Align::kLeft);
}

void plan(const PlanOptions& options) {
  const Plan plan = budget::with_steps(load_plan(options.plan, options.set));
  check_gates(plan);
  const auto limit = parse_memory_limit(options.memory_limit);
  const budget::Sharing sharing = sharing_of(options);
  // As many as one of the processes would have here.
  const int64_t share = kernels::num_threads() / sharing.processes;
  kernels::set_num_threads(static_cast<int>(
      plan.threads > 0 ? plan.threads : std::max<int64_t>(share, 1)));
  budget::PlanBudget budget = budget::plan_budget(
      plan, rates_of(options, plan), sharing, step_time_of(options));
  if (sharing.processes > 1) {
    budget.all_shards = budget::compare_shards(plan, sharing);
  }
  if (options.json) {
    Json json = budget::to_json(budget, limit);
    json["output_dir"] = plan.output_dir;
    const std::vector<std::string> rates = train::schedule_text(plan);
    for (size_t i = 0; i < rates.size(); ++i) {
      json["phases"][i]["learning_rate"] = rates[i];
    }
    fmt::print("{}\n", pretty(json));
  } else {
    fmt::print("{}\n{}", budget::to_table(budget, limit), rate_table(plan));
  }
  if (limit) budget::require_fits(plan, budget, *limit);
}

}  // namespace

void add_plan_command(CLI::App& app) {
  auto options = std::make_shared<PlanOptions>();
  CLI::App* command = app.add_subcommand(
      "plan",
      "Estimate the memory, disk space, operations and time that a plan needs");
  command->add_option("plan", options->plan, "A plan: a YAML file")->required();
  command
      ->add_option("--set", options->set,
                   "Replace a field of the plan, for example "
                   "optimizer.type=adamw_8bit; may be given several times")
      ->allow_extra_args(false);
  add_memory_limit(*command, options->memory_limit);
  command->add_option(
      "--processes", options->processes,
      "Number of processes that share the run, a power of two; the figures are "
      "those of each (default: 1)");
  command->add_option(
      "--bandwidth", options->bandwidth,
      "Bytes that a process can send in a second (default: 1.25GB, a network "
      "of 10 Gbit/s)");
  command->add_option(
      "--latency", options->latency,
      "Time that a message takes from one process to another, in us, ms or s "
      "(default: 50us)");
  command->add_option(
      "--step-time", options->step_time,
      "Time that one process computes in a step, if it is known, in ms or s "
      "(default: by what this machine does in a second)");
  CLI::Option* speed = command->add_option(
      "--speed", options->speed,
      "Operations of matrix products, and bytes read and written, that a "
      "process does in a second, for example 300T,2TB; for times on another "
      "machine (default: measured on this one)");
  command
      ->add_flag("--no-measure", options->no_measure,
                 "Do not measure how fast this machine is; then no times are "
                 "estimated")
      ->excludes(speed);
  command->add_flag("--json", options->json, "Print the figures as JSON");
  command->footer(
      "Example:\n  annuli plan plans/seed.yaml --memory-limit 16GB\n"
      "  annuli plan plans/seed.yaml --processes 4 --bandwidth 12.5GB "
      "--latency 5us\n"
      "Exit status 1 if the plan does not fit.");
  command->callback([options] { plan(*options); });
}

}  // namespace annuli::cli
