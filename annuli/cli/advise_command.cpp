#include <fmt/core.h>

#include <memory>
#include <string>
#include <vector>

#include "annuli/cli/commands.h"
#include "annuli/core/json.h"
#include "annuli/study/advice.h"
#include "annuli/study/results.h"
#include "annuli/study/study_plan.h"

namespace annuli::cli {
namespace {

struct AdviseOptions {
  std::string run;
  std::vector<std::string> studies;
  bool json = false;
};

void advise(const AdviseOptions& options) {
  const study::RunSoFar run = study::run_so_far(options.run);
  const study::GoingOn on = study::going_on(run);
  std::vector<study::Growing> grown;
  for (const std::string& file : options.studies) {
    const study::Study study = study::load_study(file, /*quick=*/false);
    study::Results results(study.results);
    const study::StudyRunner runner(study, results, file);
    for (study::Growing& one : study::growing(study, runner, run)) {
      grown.push_back(std::move(one));
    }
  }
  if (options.json) {
    fmt::print("{}\n", pretty(study::to_json(run, on, grown)));
  } else {
    fmt::print("{}", study::to_text(run, on, grown));
  }
}

}  // namespace

void add_advise_command(CLI::App& app) {
  auto options = std::make_shared<AdviseOptions>();
  CLI::App* command = app.add_subcommand(
      "advise",
      "Say what a run's loss curve predicts for going on, and what studies "
      "measured of growing, or that it is not known");
  command
      ->add_option("run", options->run,
                   "Folder of a run, finished or not, running or not")
      ->required();
  command
      ->add_option("--study", options->studies,
                   "A study whose results say what growing gained; may be "
                   "given several times")
      ->allow_extra_args(false);
  command->add_flag("--json", options->json, "Print everything as JSON");
  command->footer(
      "Example:\n  annuli advise runs/mine --study plans/studies/depth.yaml\n"
      "A forecast is the mean loss of a step at the full learning rate, with "
      "the interval that holds it in 95 of 100 cases if the curve is a power "
      "law.");
  command->callback([options] { advise(*options); });
}

}  // namespace annuli::cli
