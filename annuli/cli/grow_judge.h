#pragma once

#include <optional>
#include <string>
#include <vector>

#include "annuli/checkpoint/model_file.h"
#include "annuli/cli/verify_probe.h"
#include "annuli/grow/recipe.h"
#include "annuli/parallel/process_group.h"

namespace annuli::cli {

struct GrowthOnDisk {
  std::vector<const ModelFile*> parents;
  const grow::Recipe& recipe;
  const NamedProbe& probe;
  bool whole_probe;  // compare all windows of the probe
  // Nats, if the recipe is not exact; unset: the recipe's.
  std::optional<double> loss_budget;
  std::vector<std::string> allow;  // checks whose failure is a warning
  parallel::ProcessGroup& group;   // who verifies together
};

// Verifies the child in a folder against its parents, prints the verdicts and
// returns them as JSON. VerdictError if one fails. Of several processes the
// first one alone judges.
Json judge_child(const GrowthOnDisk& growth, const fs::path& child);

}  // namespace annuli::cli
