#pragma once

#include <optional>
#include <string>
#include <vector>

#include "annuli/checkpoint/tensor_entry.h"
#include "annuli/core/file.h"
#include "annuli/core/json.h"

// What a stopped run needs to go on bit for bit: a folder of
//   model.safetensors      the weights
//   optimizer.safetensors  the optimizer's parts, "<part>.<tensor>"
//   state.json             progress, sizes and content hashes of the two
//
// Guarantees: at any moment, also within a save and after a crash or a loss of
// power, the newest state that was ever completely saved can be loaded. A save
// writes `<folder>.tmp-<n>` beside the folder, syncs it, exchanges the two
// names and only then removes the previous state, so that it needs the room of
// two on disk. Leftovers of interrupted saves are removed by the next one.
// One process saves to a folder at a time.
namespace annuli {

struct TrainingState {
  // An object: the plan's hash, the phase and step, the loader's state, the
  // per-tensor step counters and multipliers, how much of the history belongs
  // to this state, and whatever else the run keeps. Doubles survive exactly.
  Json progress = Json::object();
  std::vector<NamedTensor> weights;
  std::vector<NamedTensor> optimizer;
};

void save_training_state(const fs::path& folder, const TrainingState& state);

// Nothing if no state was ever saved there; UserError if what is there is
// damaged. Tensors come back in memory of their own, in the order in which
// they were saved; no second copy is held while reading.
std::optional<TrainingState> load_training_state(const fs::path& folder);

// Only the progress: cheap, reads no tensors and checks their sizes alone.
std::optional<Json> load_progress(const fs::path& folder);

}  // namespace annuli
