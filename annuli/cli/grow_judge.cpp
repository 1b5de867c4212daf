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
  Json list = Json::array();
  for (const verify::Verdict& verdict : verdicts) {
    list.push_back(verify::to_json(verdict));
  }
  return list;
}

}  // namespace annuli::cli
