#pragma once

#include <string>
#include <vector>

#include "annuli/checkpoint/model_file.h"

namespace annuli {

// The small files that belong to a model beside its weights: of its tokenizer
// (with chat template), generation_config.json, licence. Nothing else of the
// folder is taken along: not what a Trainer left (trainer_state.json,
// training_args.bin, optimizer.pt, logs), no code, no adapter, no other
// weights, not the parent's card.
//
// Of a folder: its own files. Of a .pt: those of the tokenizer that it names,
// where they can be found. Of a GGUF file: those that its tokenizer is made of
// again (tokenizer/gguf_tokenizer.h); where that cannot be, a notice says so.
struct Companion {
  std::string name;
  fs::path source;   // "": the text is here
  std::string text;  // of a file that is made

  int64_t bytes() const;
};
std::vector<Companion> companions(const ModelFile& model);

int64_t size_of(const std::vector<Companion>& files);

// Puts them into `folder`, synced.
void copy_companions(const std::vector<Companion>& files,
                     const fs::path& folder);

}  // namespace annuli
