#include <fmt/core.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "annuli/budget/phase_steps.h"
#include "annuli/budget/plan_budget.h"
#include "annuli/cli/commands.h"
#include "annuli/cli/options.h"
#include "annuli/cli/run_group.h"
#include "annuli/cli/stop_signals.h"
#include "annuli/cli/watch_beside.h"
#include "annuli/config/check_gates.h"
#include "annuli/config/class_notice.h"
#include "annuli/config/plan.h"
#include "annuli/core/error.h"
#include "annuli/core/notice.h"
#include "annuli/parallel/launch_environment.h"
#include "annuli/parallel/launcher.h"
#include "annuli/run/plan_runner.h"
#include "annuli/train/step_share.h"

namespace annuli::cli {
namespace {

struct RunOptions {
  std::string plan;
  std::string out;
  bool plan_help = false;
  std::optional<std::string> processes;
  std::string watch;  // of --watch[=PORT]
  bool resume = false;
  bool force = false;
  std::string memory_limit;
  std::vector<std::string> set;
  std::vector<std::string> allow;
  std::string profile;  // of --profile[=FILE]: where the trace goes
  int64_t profile_steps = 3;
};

// The page, by the first of several processes. CLI11 gives a flag without a
// value the word "true".
std::unique_ptr<WatchBeside> watch_beside(const RunOptions& options,
                                          const Plan& plan) {
  if (options.watch.empty()) return nullptr;
  if (parallel::launch_environment().rank != 0) return nullptr;
  return std::make_unique<WatchBeside>(
      options.watch == "true" ? "" : options.watch, plan.output_dir);
}

// The arguments of each of several processes.
std::vector<std::string> arguments_of_each() {
  std::vector<std::string> all = parallel::own_arguments_without("--processes");
  std::erase_if(all, [](const std::string& argument) {
    return argument == "--watch" || argument.starts_with("--watch=");
  });
  return all;
}

// CLI11 gives a flag without a value the word "true".
std::optional<run::ProfileOptions> profile_of(const RunOptions& options) {
  if (options.profile.empty()) return std::nullopt;
  return run::ProfileOptions{
      .trace = options.profile == "true" ? "" : options.profile,
      .steps = options.profile_steps};
}

void run(const RunOptions& options) {
  if (options.plan_help) {
    fmt::print("{}", plan_help());
    return;
  }
  if (options.plan.empty()) {
    user_error("running: no plan; give one, for example plans/quick.yaml");
  }
  Plan plan = budget::with_steps(load_plan(options.plan, options.set));
  if (!options.out.empty()) plan.output_dir = options.out;
  plan.allow.insert(plan.allow.end(), options.allow.begin(),
                    options.allow.end());
  check(plan);
  check_gates(plan);
  if (plan.precision == Precision::kInt8Weights) {
    budget::configs_of_phases(plan);  // refuses growth that codes do not hold
  }
  if (options.processes) {
    const int64_t count = parallel::process_count(*options.processes);
    train::require_shareable(plan, count);
    if (count > 1) {
      const auto beside = watch_beside(options, plan);
      parallel::launch(count, arguments_of_each(), plan.parallel.timeout);
      return;
    }
  }
  for (const std::string& line : class_notices(plan)) print_notice(line);
  const auto limit = parse_memory_limit(options.memory_limit);
  const StopSignals stop_signals;
  const auto beside = watch_beside(options, plan);
  using enum run::IfPresent;
  const auto if_present =
      options.force ? kForce : (options.resume ? kResume : kRefuse);
  const double timeout = plan.parallel.timeout;
  with_group(timeout, timeout, "resume with --resume",
             [&](parallel::ProcessGroup& group) {
               if (limit) {
                 budget::require_fits(
                     plan,
                     budget::plan_budget(plan, {}, {.processes = group.size()}),
                     *limit);
               }
               run::run_plan(plan, options.plan, if_present,
                             profile_of(options), {}, group);
             });
}

}  // namespace

void add_run_command(CLI::App& app) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command =
      app.add_subcommand("run", "Train and grow through all phases of a plan");
  command->add_option("plan", options->plan, "A plan: a YAML file");
  command->add_option("--out", options->out,
                      "Folder of the run (default: the plan's output_dir)");
  command->add_option(
      "--processes", options->processes,
      "Number of processes of this host that share the training, a power of "
      "two (default: 1)");
  command
      ->add_flag("--watch", options->watch,
                 "Serve the page of the run beside it and say where "
                 "(--watch=PORT; default: port 8642), as annuli watch does")
      ->type_name("PORT");
  CLI::Option* resume = command->add_flag(
      "--resume", options->resume,
      "Go on with the run in the folder; start one if there is none");
  command
      ->add_flag("--force", options->force,
                 "Remove what a run wrote in the folder and start anew")
      ->excludes(resume);
  add_memory_limit(*command, options->memory_limit);
  // One value a flag, so that the plan may stand behind them.
  command
      ->add_option("--set", options->set,
                   "Replace a field of the plan, for example "
                   "phases.0.train.max_steps=3; may be given several times")
      ->allow_extra_args(false);
  command
      ->add_option("--allow", options->allow,
                   "A check whose failure is only a warning; may be given "
                   "several times (names: annuli grow --help)")
      ->allow_extra_args(false);
  CLI::Option* profile = command->add_flag(
      "--profile", options->profile,
      "Print where a step's time goes, by kernel, and write a trace "
      "(--profile=FILE; default: profile.json in the run's folder)");
  profile->type_name("FILE");
  command
      ->add_option("--profile-steps", options->profile_steps,
                   "Number of steps of each phase to record, after its first "
                   "(default: 3)")
      ->needs(profile);
  command->add_flag("--plan-help", options->plan_help,
                    "Print every field of a plan, and do nothing else");
  command->footer(
      "Example:\n  annuli run plans/quick.yaml --out runs/try "
      "--set phases.0.train.max_steps=20");
  command->callback([options] { run(*options); });
}

}  // namespace annuli::cli
