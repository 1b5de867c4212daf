#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "annuli/checkpoint/tensor_entry.h"
#include "annuli/core/file.h"
#include "annuli/core/json.h"
#include "annuli/parallel/solo.h"

// What a stopped run needs to go on bit for bit: numbered states in a folder,
// the newest with the highest number, each a folder of
//   model.safetensors      the weights
//   optimizer.safetensors  the optimizer's parts, "<part>.<tensor>"
//   state.json             written last: progress, sizes and content hashes of
//                          the two, and a hash of all this
//
// Where several processes each hold a part of the optimizer's state, there is a
// file of each, optimizer-00001-of-00002.safetensors and so on; where they hold
// the weights in parts, so it is with the model. Read, they are one list again.
//
// Guarantees: at any moment, also within a save and after a crash or a loss of
// power, the newest state that was ever completely saved can be loaded. A save
// writes `.tmp-<number>`, syncs files and folder, gives it its name in one
// rename, syncs that, and only then removes the oldest: it needs the room of
// one more state than are kept. What was truncated or changed afterwards, by
// one bit, is found when it is loaded, and the state before it is used.
// One group of processes saves to a folder at a time.
namespace annuli {

struct TrainingState {
  // An object: the plan, the phase and step, the loader's state, the per-tensor
  // step counters and multipliers, how much of the history belongs to this
  // state, and whatever else the run keeps. Doubles survive exactly.
  Json progress = Json::object();
  std::vector<NamedTensor> weights;
  std::vector<NamedTensor> optimizer;
  bool weights_in_parts = false;  // of several processes that save
};

struct DamagedState {
  fs::path folder;
  std::string fault;  // "model.safetensors has 100 bytes, expected 4096"
};

struct LoadedState {
  TrainingState state;
  fs::path folder;
  std::vector<DamagedState> damaged;  // newer than it, newest first
  std::vector<fs::path> skipped;      // whole ones, newer than it
};

// Keeps the `keep` newest states, this one included; at least one. Removes
// what interrupted saves and `set_aside` left.
//
// The processes of `group` save together: each gives its own part of the
// optimizer's tensors and, with `weights_in_parts`, of the weights; otherwise
// those are the first one's, as the progress is. It returns
// on the first when the state is saved, on the others when their part is.
void save_training_state(const fs::path& folder, const TrainingState& state,
                         int64_t keep = 1,
                         parallel::ProcessGroup& group = parallel::solo());

// Which tensors are wanted, by their names; an empty function: all.
struct WantedTensors {
  std::function<bool(const std::string& name)> weights;
  std::function<bool(const std::string& name)> optimizer;
};
// Of a state with this progress; an empty function: all.
using WantedParts = std::function<WantedTensors(const Json& progress)>;

// The newest whole state, or the one state that `folder` is itself; with `skip`
// one that so many whole ones are newer than. Nothing if there is none;
// UserError if there are states and all are damaged. Tensors come back in
// memory of their own, file by file in the order in which they were saved; no
// second copy is held while reading. What is not wanted is checked and left
// out.
std::optional<LoadedState> load_training_state(const fs::path& folder,
                                               int64_t skip = 0,
                                               const WantedParts& wanted = {});

// Only the progress: cheap, reads no tensors and checks their sizes alone, so
// that it can be that of a newer state than `load_training_state` finds whole.
std::optional<Json> load_progress(const fs::path& folder);

}  // namespace annuli
