#pragma once

#include <functional>
#include <string>
#include <vector>

#include "annuli/checkpoint/safetensors.h"
#include "annuli/checkpoint/shards.h"
#include "annuli/core/progress.h"
#include "annuli/grow/apply.h"

namespace annuli::grow {

// Called when tensor `index` (counted over all shards) is next.
using RowsOf = std::function<RowMaker(size_t index)>;

// Makes tensors piece by piece and writes them into safetensors files, one
// after the other. Making, writing and hashing overlap: a piece goes through a
// small pool of buffers, so memory does not depend on the size of anything.
// Several rows are made in parallel; each file is written front to back.
//
// Returns the TensorHash of every tensor. On an exception files may be left
// half-made: write into an OutputFolder.
std::vector<std::string> write_shards(const fs::path& folder,
                                      const std::vector<Shard>& shards,
                                      const Metadata& metadata,
                                      const RowsOf& rows_of,
                                      Progress& progress);

}  // namespace annuli::grow
