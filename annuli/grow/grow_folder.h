#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "annuli/checkpoint/companions.h"
#include "annuli/checkpoint/lineage.h"
#include "annuli/checkpoint/output_folder.h"
#include "annuli/grow/model_card.h"
#include "annuli/grow/stream.h"
#include "annuli/grow/stream_state.h"

// Growth from model folders (or .pt files) to a model folder: everything that
// `annuli grow` leaves at --out.
namespace annuli::grow {

struct FolderOrder {
  StreamOrder weights;
  StateGrowth state;        // of the first parent's optimizer, if it has one
  CardTraining training{};  // of the first parent, for the child's card
  // What becomes of the finished folder; not set: it gets its name.
  std::function<void(OutputFolder& out)> finish;
  // Judges the finished child before it gets its name: the verdicts, for the
  // record. It throws what should stop the growth. Not set: no verdicts. All
  // processes of the group are asked; what the first one says is recorded.
  std::function<Json(const fs::path& child)> judge;
};

// What will be written, besides a few small files.
struct FolderPlan {
  StreamPlan weights;
  std::vector<TensorEntry> state;     // of optimizer.safetensors
  std::vector<Companion> companions;  // of the parent
  int64_t bytes = 0;                  // of all
};
FolderPlan plan_folder(const FolderOrder& order);

// Writes the folder and commits it, or does what `finish` says; on an exception
// nothing is left. Returns the record that it added to the lineage.
LineageRecord grow_folder(const FolderOrder& order, const FolderPlan& plan,
                          OutputFolder& out);

// The same once more: the folder that a growth's record describes, byte for
// byte, its lineage included. UserError if the parent is another one;
// VerdictError if the result is.
void replay_folder(const FolderOrder& order, const FolderPlan& plan,
                   const Lineage& lineage, OutputFolder& out);

// What all processes but the first of StreamOrder::group do meanwhile, for
// both: their part of the tensors, into the first one's folder, and of the
// judging.
void help_to_grow(const FolderOrder& order, const FolderPlan& plan);

}  // namespace annuli::grow
