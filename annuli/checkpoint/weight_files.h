#pragma once

#include <memory>
#include <vector>

#include "annuli/checkpoint/mapped_tensors.h"

// The files that hold the weights of a model's folder.
namespace annuli {

using WeightFiles = std::vector<std::unique_ptr<MappedTensors>>;

// Opens them: the first that is there of
//   model.safetensors;
//   the shards that model.safetensors.index.json lists;
//   pytorch_model.bin, read without executing anything (pt_file.h);
//   the shards that pytorch_model.bin.index.json lists;
//   model-0000k-of-0000n.safetensors, all of them, where the index was lost.
//
// UserError that says what is there instead (foreign_folder.h); for a link that
// leads nowhere; for an index that reaches outside the folder, names a shard
// that is not there or a tensor that its shard does not hold; for a tensor
// that two shards hold.
WeightFiles open_weights(const fs::path& folder);

// UserError where an entry of the folder is a link that leads nowhere, as after
// a download that was broken off.
void refuse_broken_links(const fs::path& folder);

}  // namespace annuli
