#pragma once

#include <string>

#include "annuli/checkpoint/lineage.h"
#include "annuli/core/json.h"
#include "annuli/grow/grow_folder.h"

// How a child was stored, besides its recipe: element type, shards, what became
// of the optimizer's state, what was measured for routers. A lineage's record
// says it, so that the growth can be carried out again, byte for byte.
namespace annuli::grow {

Json replay_of(const FolderOrder& order);

// Fills dtype, shards, state and means of an order. UserError, which names
// `where`, for a record that says no such thing.
void apply_replay(const LineageRecord& record, const std::string& where,
                  FolderOrder& order);

}  // namespace annuli::grow
