#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

// Attention of one new token over keys and values that are kept: what decoding
// does in each layer. The time is that of reading them once.
//
// Keys are taken 512 at a time and the blocks' results put together in order,
// so the bits depend on the number of keys alone: not on threads, nor on what
// other queries are computed beside it. fp32.
namespace annuli::kernels {

struct CachedQuery {
  const float* q = nullptr;       // [H, head_dim], rotated
  const float* keys = nullptr;    // [K, capacity, head_dim], rotated
  const float* values = nullptr;  // [K, capacity, head_dim]
  int64_t length = 0;             // keys that the query sees, at least 1
  int64_t capacity = 0;
  float* out = nullptr;  // [H, head_dim]
};

// Scale 1 / sqrt(head_dim); head h reads kv head h / (H / K). All queries have
// the same H, K and head_dim. The plain version is
// reference::causal_attention (attention.h) with one query.
void cached_attention(std::span<const CachedQuery> queries, int64_t H,
                      int64_t K, int64_t head_dim);

}  // namespace annuli::kernels
