#include "annuli/cli/grow_judge.h"

#include <fmt/core.h>

#include "annuli/run/console.h"
#include "annuli/verify/verify_folders.h"

namespace annuli::cli {

Json judge_child(const GrowthOnDisk& growth, const fs::path& folder) {
  auto verdicts = verify::verify_folders(growth.parents, ModelFile(folder),
                                         growth.recipe, growth.probe.probe,
                                         {.loss_budget = growth.loss_budget})
                      .verdicts;
  verify::allow(verdicts, growth.allow);
  fmt::print("probe: {}\n", growth.probe.name);
  run::print_verdicts(verdicts);
  verify::require(verdicts);
  return verify::to_json(verdicts);
}

}  // namespace annuli::cli
