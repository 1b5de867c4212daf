#pragma once

#include <optional>

#include "annuli/checkpoint/model_file.h"
#include "annuli/checkpoint/output_folder.h"
#include "annuli/grow/model_card.h"

// A model in another form, its function untouched: what `annuli export` writes.
// Weights are streamed; with another dtype each value is rounded once.
namespace annuli::grow {

struct ExportOrder {
  const ModelFile& model;
  std::optional<at::ScalarType> dtype;  // unset: what each tensor has
  int64_t max_shard_bytes = 5'000'000'000;
  // Of a .pt: whose tokenizer it names; null: the model's own.
  const ModelFile* tokenizer_of = nullptr;
  CardTraining training{};  // for the card of a folder
};

// To a Hugging Face folder, with the tokenizer's files, the optimizer's state
// and the lineage that the source has, and a card of its own. Commits.
void export_folder(const ExportOrder& order, OutputFolder& out);

// To a .pt file. The optimizer's state has no place in it.
void export_pt(const ExportOrder& order, const fs::path& path);

// A run's training state (training_state.h) to a Hugging Face folder: its
// weights, and the optimizer's state beside them. Held in memory, as in the
// run.
void export_training_state(const fs::path& state, OutputFolder& out);

}  // namespace annuli::grow
