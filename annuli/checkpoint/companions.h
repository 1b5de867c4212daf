#pragma once

#include <string>
#include <vector>

#include "annuli/checkpoint/model_file.h"

namespace annuli {

// The small files that belong to a model beside its weights: tokenizer,
// generation_config.json, chat template, licence ... What this program writes
// anew (config, index, lineage, card), weights of any kind, the optimizer's
// state and hidden files are not among them.
//
// Of a folder: its own files. Of a .pt: those of the tokenizer that it names,
// where they can be found.
std::vector<fs::path> companions(const ModelFile& model);

int64_t size_of(const std::vector<fs::path>& files);

// Copies them into `folder`, synced.
void copy_companions(const std::vector<fs::path>& files,
                     const fs::path& folder);

}  // namespace annuli
