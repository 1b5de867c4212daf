#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "annuli/checkpoint/model_file.h"
#include "annuli/checkpoint/safetensors.h"
#include "annuli/checkpoint/shards.h"
#include "annuli/grow/recipe.h"
#include "annuli/parallel/solo.h"

// A recipe carried out from files to files, for models larger than memory: the
// parents are mapped, the child is written front to back, and at no time is a
// whole tensor of either held.
//
// Guarantees: the files hold the very bytes that growth in memory (grow.h)
// would have saved; they do not depend on the number of threads. Each parent
// tensor is read, hashed and let go.
namespace annuli::grow {

struct StreamOrder {
  const Recipe& recipe;
  std::vector<const ModelFile*> parents;  // the recipe's, in its order
  // Per layer of the first parent, for random routers; empty: rows as drawn.
  std::vector<at::Tensor> router_mean;
  std::optional<at::ScalarType> dtype;  // unset: what each parent tensor has
  int64_t max_shard_bytes = 5'000'000'000;
  // Who carries it out together, each process some of the child's tensors. All
  // see the parents' files and the folder.
  parallel::ProcessGroup& group = parallel::solo();
};

// What will be written, before anything is.
struct StreamPlan {
  std::vector<Shard> shards;
  at::ScalarType dtype = at::kFloat;  // of most of the bytes
  // Why the child is stored in another type than its parent; empty: it isn't.
  std::string note;
};

// UserError if a parent's files do not hold what its config says, or parents
// differ in shape.
StreamPlan plan_stream(const StreamOrder& order);

struct Streamed {
  std::vector<std::string> parents;  // content hashes
  std::string child;
};

// On all processes of the group; each returns when all is written.
Streamed stream(const StreamOrder& order, const StreamPlan& plan,
                const fs::path& folder, const Metadata& metadata = {});

}  // namespace annuli::grow
