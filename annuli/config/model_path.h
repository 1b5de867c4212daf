#pragma once

#include <string_view>

#include "annuli/core/file.h"

// Where the model lies that a user names: the one place that knows.
namespace annuli {

// The folder or file of the model `given`, which is one of
//   a folder, a .pt or a GGUF file: as it is, whatever the hub's cache has;
//   a part of a model's folder (config.json, model.safetensors, the index of
//     its shards): that folder;
//   a repository's folder in the cache of Hugging Face (models--acme--tiny), a
//     model id (acme/tiny) or an address of the hub: the snapshot in the cache
//     that huggingface_hub would read (core/hub_cache.h).
// A notice says what was taken in the last two cases. UserError, "DOING GIVEN:
// ...", where there is no such model; what is in it is the reader's to judge.
fs::path find_model(const fs::path& given,
                    std::string_view doing = "opening the model");

}  // namespace annuli
