#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "annuli/checkpoint/lineage.h"
#include "annuli/data/loader.h"
#include "annuli/grow/recipe.h"
#include "annuli/model/transformer.h"
#include "annuli/train/optimizer.h"
#include "annuli/verify/symmetry_breaking.h"

// Everything that a run is, between two steps. Saved and loaded whole, so that
// a run which is stopped goes on bit for bit as if it had not been.
namespace annuli::run {

struct RunState {
  size_t phase = 0;  // index into the plan's phases
  int64_t step = 0;  // steps done in that phase; its max_steps: phase done
  Transformer model;
  train::Optimizer optimizer;
  data::LoaderState loader;
  int64_t history_bytes = 0;

  // Of the growth that began this phase, for the checks that end it.
  std::optional<grow::Recipe> recipe;
  std::optional<verify::SymmetryControl> control;
  std::vector<std::vector<double>> router_grad_norm;  // [step][layer]
  std::optional<double> previous_norm;                // train::Trainer's

  Lineage lineage;  // initialize, train, upcycle, train, ...
};

void save_run_state(const std::filesystem::path& folder, const RunState& state,
                    const std::string& plan_hash);

// nullopt if there is none. Throws UserError if it is damaged or of another
// plan.
std::optional<RunState> load_run_state(const std::filesystem::path& folder,
                                       const OptimizerPlan& optimizer,
                                       const std::string& plan_hash,
                                       at::Device device);

}  // namespace annuli::run
