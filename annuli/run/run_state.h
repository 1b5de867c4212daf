#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "annuli/checkpoint/lineage.h"
#include "annuli/checkpoint/training_state.h"
#include "annuli/config/plan.h"
#include "annuli/core/json.h"
#include "annuli/data/loader.h"
#include "annuli/grow/recipe.h"
#include "annuli/model/transformer.h"
#include "annuli/parallel/process_group.h"
#include "annuli/run/early_end.h"
#include "annuli/train/history.h"
#include "annuli/train/loss_slope.h"
#include "annuli/train/optimizer.h"
#include "annuli/verify/symmetry_breaking.h"

// Everything that a run is, between two steps. Saved and loaded whole, so that
// a run which is stopped goes on bit for bit as if it had not been.
namespace annuli::run {

struct RunState {
  size_t phase = 0;          // index into the plan's phases
  int64_t step = 0;          // steps done in that phase
  bool phase_ended = false;  // evaluated, proved, its checkpoint written
  Transformer model;
  train::Optimizer optimizer;
  data::LoaderState loader;
  train::HistoryMark history;

  // Of the growth that began this phase, for the checks that end it.
  std::optional<grow::Recipe> recipe;
  std::optional<verify::SymmetryControl> control;
  std::optional<double> previous_norm;  // train::Trainer's
  std::string frozen_hash;              // of what the phase freezes, at first
  std::vector<double> recent_losses;    // train::LossWatch's
  train::LossBins loss_bins;            // if the phase has `until`
  std::vector<EarlyEnd> early_ends;     // of the phases so far

  // Of the phase at hand: how often it went back to a saved state, what that
  // has made of its learning rate, and whether no step was saved since.
  int64_t rollbacks = 0;
  bool after_rollback = false;
  double lr_factor = 1;

  Lineage lineage;  // initialize, train, upcycle, train, ...
};

// Whether this process holds the optimizer's parts of the rows that it owns
// alone, as `parallel.shard` says; and the same of the weights.
bool holds_part(const Plan& plan, const parallel::ProcessGroup& group);
bool holds_part_of_weights(const Plan& plan,
                           const parallel::ProcessGroup& group);

// Keeps the `keep` newest states. What the plan's hash is of is part of each.
// Where processes hold parts all of them call it; otherwise the first alone.
void save_run_state(const std::filesystem::path& folder, const RunState& state,
                    const Plan& plan, int64_t keep,
                    parallel::ProcessGroup& group);

struct SavedRun {
  RunState state;
  std::filesystem::path folder;
  Json plan;  // `hashed_json` of the plan that it was saved under
  std::vector<DamagedState> damaged;           // newer states, passed over
  std::vector<std::filesystem::path> skipped;  // newer states, whole
};

// The newest whole state, or an older one: `skip` many are newer. The model has
// the plan's precision. nullopt if there is none. Throws UserError if all are
// damaged.
std::optional<SavedRun> load_run_state(const std::filesystem::path& folder,
                                       const Plan& plan, at::Device device,
                                       parallel::ProcessGroup& group,
                                       int64_t skip = 0);

// Leaves of what all processes have made alike what this one is to hold.
void keep_own_part(Transformer& model, std::vector<optim::TensorState>& states,
                   const Plan& plan, parallel::ProcessGroup& group);

}  // namespace annuli::run
