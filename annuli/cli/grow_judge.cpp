#include "annuli/cli/grow_judge.h"

#include <fmt/core.h>

#include <optional>

#include "annuli/run/console.h"
#include "annuli/verify/verify_growth.h"

namespace annuli::cli {

Json judge_child(const GrowthOnDisk& growth, const fs::path& folder) {
  const Transformer parent =
      load_model(*growth.parents.front(), {.mapped = true});
  Transformer child = load_model(folder, {.dtype = parent.dtype()});
  const grow::Recipe& recipe = growth.recipe;
  auto record = verify::ParentRecord::take(parent, growth.probe.probe,
                                           recipe.width_factor > 1);
  record.feed_forward_mean.clear();
  std::optional<verify::SymmetryControl> control;
  if (recipe.has_noise()) {
    control = verify::symmetry_control(parent, recipe, growth.probe.probe);
  }
  auto verdicts =
      verify::verify_growth({.parent = record,
                             .recipe = recipe,
                             .probe = growth.probe.probe,
                             .control = control ? &*control : nullptr,
                             .loss_budget = growth.loss_budget},
                            child);
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
