#pragma once

#include <string>

#include "annuli/core/file.h"

// Folders and files that people take for a model of ours.
namespace annuli {

// What a folder without a config or without weights is, and what to do with it,
// as far as its files tell: "it is a LoRA adapter of someone/base; ..."; else
// "".
std::string what_it_is(const fs::path& folder);

// UserError for a file that is known and no .pt: a .safetensors file without
// its folder.
void refuse_foreign_file(const fs::path& file);

// Whether the folder holds an adapter's weights. They are never applied.
bool holds_adapter(const fs::path& folder);

}  // namespace annuli
