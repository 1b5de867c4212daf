#include <fmt/core.h>

#include <memory>
#include <string>
#include <vector>

#include "annuli/budget/machine_rates.h"
#include "annuli/cli/commands.h"
#include "annuli/cli/stop_signals.h"
#include "annuli/core/json.h"
#include "annuli/kernels/threads.h"
#include "annuli/model/number_types.h"
#include "annuli/parallel/child.h"
#include "annuli/study/arm_plan.h"
#include "annuli/study/comparison.h"
#include "annuli/study/cost.h"
#include "annuli/study/results.h"
#include "annuli/study/study_plan.h"
#include "annuli/study/study_runner.h"

namespace annuli::cli {
namespace {

struct StudyOptions {
  std::string study;
  int64_t jobs = 1;
  std::vector<std::string> arms;
  bool quick = false;
  bool plan = false;
  bool table = false;
  bool markdown = false;
  bool json = false;
};

void print_cost(const study::Study& study, const study::StudyRunner& runner) {
  const Plan plan = study::arm_plan(study, study.arms.front(), {});
  if (plan.threads > 0) {
    kernels::set_num_threads(static_cast<int>(plan.threads));
  }
  const auto rates =
      budget::measure_rates(number_types(plan.precision).products);
  fmt::print("{}", study::to_text(study::cost_of(study, runner, rates)));
}

// Others that take part until nothing is left to take; they end with this one.
std::vector<parallel::Child> helpers_of(const StudyOptions& options) {
  std::vector<parallel::Child> helpers;
  for (int64_t rank = 1; rank < options.jobs; ++rank) {
    parallel::ChildOptions child{.rank = rank,
                                 .arguments = {"annuli", "study"}};
    if (options.quick) child.arguments.push_back("--quick");
    for (const std::string& arm : options.arms) {
      child.arguments.insert(child.arguments.end(), {"--arms", arm});
    }
    child.arguments.insert(child.arguments.end(), {"--", options.study});
    helpers.emplace_back(child);
  }
  return helpers;
}

void study_command(const StudyOptions& options) {
  const study::Study study = study::load_study(options.study, options.quick);
  study::Results results(study.results);
  study::StudyRunner runner(study, results, options.study, options.arms);
  if (options.plan) {
    print_cost(study, runner);
    return;
  }
  if (!options.table) {
    const StopSignals stop_signals;
    const std::vector<parallel::Child> helpers = helpers_of(options);
    runner.run();
  }
  const auto arms = study::summarise(study, runner);
  if (options.json) {
    fmt::print("{}\n", pretty(study::to_json(study, arms)));
  } else {
    fmt::print("{}", options.markdown ? study::to_markdown(study, arms)
                                      : study::to_table(study, arms));
  }
}

}  // namespace

void add_study_command(CLI::App& app) {
  auto options = std::make_shared<StudyOptions>();
  CLI::App* command = app.add_subcommand(
      "study",
      "Compare ways of training for the same number of operations: arms over "
      "seeds and learning rates, each run resumable");
  command->add_option("study", options->study, "A study: a YAML file")
      ->required();
  command->add_flag("--quick", options->quick,
                    "Run the small study of the file's section `quick`, which "
                    "shows whether the large one works");
  command
      ->add_option("--jobs", options->jobs,
                   "Number of runs at a time, each in a process of its own; "
                   "set the plan's threads so that all have cores (default: 1)")
      ->check(CLI::Range(1, 1024));
  command
      ->add_option("--arms", options->arms,
                   "Run only these arms, and what their learning rates depend "
                   "on (default: all)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("A,B,...");
  CLI::Option* plan = command->add_flag(
      "--plan", options->plan,
      "Only print what is still to be run and the time that it takes");
  command
      ->add_flag("--table", options->table,
                 "Only print the table of the results there are")
      ->excludes(plan);
  CLI::Option* json =
      command->add_flag("--json", options->json, "Print the table as JSON");
  command
      ->add_flag("--markdown", options->markdown, "Print the table as Markdown")
      ->excludes(json);
  command->footer(
      "Example:\n  annuli study plans/studies/depth.yaml --quick\n"
      "  annuli study plans/studies/depth.yaml --plan\n"
      "A study that was stopped goes on where it was, by the same command.");
  command->callback([options] { study_command(*options); });
}

}  // namespace annuli::cli
