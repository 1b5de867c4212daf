#include "annuli/cli/grow_judge.h"

#include <fmt/core.h>

#include "annuli/run/console.h"
#include "annuli/verify/verify_folders.h"

namespace annuli::cli {

Json judge_child(const GrowthOnDisk& growth, const fs::path& folder) {
  verify::FolderVerdicts result = verify::verify_folders(
      growth.parents, ModelFile(folder), growth.recipe, growth.probe.probe,
      {.loss_budget = growth.loss_budget,
       .whole_probe = growth.whole_probe,
       .group = growth.group});
  if (!growth.group.is_first()) return {};
  verify::allow(result.verdicts, growth.allow);
  fmt::print("probe: {}\n", in_words(growth.probe, result.windows));
  run::print_verdicts(result.verdicts);
  verify::require(result.verdicts);
  return verify::to_json(result.verdicts);
}

}  // namespace annuli::cli
