#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "annuli/checkpoint/tensor_entry.h"
#include "annuli/core/json.h"

// How a model's tensors are spread over safetensors files, as Hugging Face
// names them.
namespace annuli {

struct Shard {
  std::string file;
  std::vector<TensorEntry> entries;  // `bytes` set
  int64_t bytes = 0;
};

// The tensors in their order, cut so that no shard's data is larger than
// `max_bytes`, but for a tensor that is larger by itself. One shard is
// "model.safetensors", several "model-00001-of-0000n.safetensors".
std::vector<Shard> plan_shards(const std::vector<TensorEntry>& entries,
                               int64_t max_bytes);

inline constexpr const char* kWeightIndex = "model.safetensors.index.json";

// What it holds.
Json shard_index(const std::vector<Shard>& shards);

int64_t total_bytes(const std::vector<Shard>& shards);

// "5GB", "500 MB", "1GiB", "123456": a size in bytes; UserError.
int64_t parse_bytes(const std::string& text);

}  // namespace annuli
