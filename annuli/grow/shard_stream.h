#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "annuli/checkpoint/safetensors.h"
#include "annuli/checkpoint/shards.h"
#include "annuli/core/progress.h"
#include "annuli/grow/apply.h"
#include "annuli/parallel/solo.h"

namespace annuli::grow {

// Called when tensor `index` (counted over all shards) is next.
using RowsOf = std::function<RowMaker(size_t index)>;

// Makes tensors piece by piece and writes them into safetensors files, one
// after the other. Making, writing and hashing overlap: a piece goes through a
// small pool of buffers, so memory does not depend on the size of anything.
// Several rows are made in parallel; each file is written front to back.
//
// Several processes write into one folder together, all of them the same call:
// each makes its own tensors (makers_of), and the files are those of one
// process.
//
// Returns the TensorHash of every tensor, once all of them are on the disk. On
// an exception files may be left half-made: write into an OutputFolder.
std::vector<std::string> write_shards(
    const fs::path& folder, const std::vector<Shard>& shards,
    const Metadata& metadata, const RowsOf& rows_of, Progress& progress,
    parallel::ProcessGroup& group = parallel::solo());

// By tensor, counted over all shards: the process that makes it. In their
// order, each goes to the one that has the fewest bytes so far.
std::vector<int64_t> makers_of(const std::vector<Shard>& shards,
                               int64_t processes);

// Texts of things that one process each has; empty where it has none.
std::vector<std::string> of_all_makers(parallel::ProcessGroup& group,
                                       const std::vector<std::string>& own);

}  // namespace annuli::grow
