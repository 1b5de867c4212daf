#include <fmt/core.h>

#include <memory>
#include <string>
#include <vector>

#include "annuli/budget/budget_table.h"
#include "annuli/budget/plan_budget.h"
#include "annuli/cli/commands.h"
#include "annuli/cli/options.h"
#include "annuli/config/check_gates.h"
#include "annuli/config/plan.h"
#include "annuli/core/json.h"
#include "annuli/kernels/threads.h"
#include "annuli/model/number_types.h"

namespace annuli::cli {
namespace {

struct PlanOptions {
  std::string plan;
  std::vector<std::string> set;
  std::string memory_limit;
  bool no_measure = false;
  bool json = false;
};

void plan(const PlanOptions& options) {
  const Plan plan = load_plan(options.plan, options.set);
  check_gates(plan);
  const auto limit = parse_memory_limit(options.memory_limit);
  if (plan.threads > 0) {
    kernels::set_num_threads(static_cast<int>(plan.threads));
  }
  std::optional<budget::MachineRates> rates;
  if (!options.no_measure) {
    rates = budget::measure_rates(number_types(plan.precision).products);
  }
  const budget::PlanBudget budget = budget::plan_budget(plan, rates);
  fmt::print("{}", options.json ? pretty(budget::to_json(budget)) + "\n"
                                : budget::to_table(budget));
  if (limit) budget::require_fits(plan, budget, *limit);
}

}  // namespace

void add_plan_command(CLI::App& app) {
  auto options = std::make_shared<PlanOptions>();
  CLI::App* command = app.add_subcommand(
      "plan", "Memory, disk, work and time of a plan, before it is run");
  command->add_option("plan", options->plan, "The plan, a YAML file")
      ->required();
  command
      ->add_option("--set", options->set,
                   "Override a field: optimizer.type=adamw_8bit; repeatable")
      ->allow_extra_args(false);
  add_memory_limit(*command, options->memory_limit);
  command->add_flag("--no-measure", options->no_measure,
                    "Do not measure this machine's rates; no times then");
  command->add_flag("--json", options->json, "For scripts");
  command->footer(
      "Example:\n  annuli plan plans/seed.yaml --memory-limit 16GB\n"
      "Exit status 1 if the plan does not fit.");
  command->callback([options] { plan(*options); });
}

}  // namespace annuli::cli
