#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "annuli/generate/decode_feed_forward.h"
#include "annuli/generate/decode_weights.h"
#include "annuli/generate/rows.h"
#include "annuli/kernels/attention.h"
#include "annuli/kernels/cached_attention.h"
#include "annuli/model/kv_cache.h"
#include "annuli/model/transformer.h"

// The forward pass of a few tokens through caches, made for speed: plain memory
// and own kernels instead of operators on tensors, and only the chosen experts'
// weights are read. Transformer is the plain version of it; the two agree to
// rounding.
//
// Guarantees: a row's result depends on its token and on its cache alone, bit
// for bit, not on the rows beside it and not on the number of threads.
//
// State: views of the weights (decode_weights.h), the rotary angles that were
// needed so far, and workspace. The model's weights must stay as they are.
namespace annuli::decoding {

// A token and the sequence that it continues. Rows of one sequence stand
// together, in order: they are successive tokens.
struct Row {
  KvCache* cache;
  int32_t id;
};

// Turns heads by the angles of a position, which are computed 64 positions at a
// time.
class RotaryPositions {
 public:
  explicit RotaryPositions(at::Tensor frequencies);
  void rotate(float* x, int64_t heads, int64_t position);

 private:
  at::Tensor frequencies_;  // [head_dim / 2]
  std::vector<kernels::RotaryTable> blocks_;
};

class DecodeStep {
 public:
  // `model` must be readable (decode_weights.h).
  explicit DecodeStep(const Transformer& model);
  DecodeStep(const DecodeStep&) = delete;
  DecodeStep& operator=(const DecodeStep&) = delete;

  // Reads the tokens into their caches.
  void read(std::span<const Row> rows);
  // The same; and the logits of each one's successor, [M, V].
  at::Tensor logits(std::span<const Row> rows);

 private:
  void embed(std::span<const Row> rows);
  void attention_block(std::span<const Row> rows, int64_t layer);
  void reserve(std::span<const Row> rows, int64_t layer);
  void place_heads(const KvCache::Layer& kept, int64_t m,
                   const LayerWeights& weights);
  void normalise_heads(float* x, const Gain& gain, int64_t heads) const;
  void normalise(Rows& in, const Gain& gain, Rows& out) const;
  // What a block reads: x, or norm(x) where there is a gain.
  Rows& block_input(const Gain& gain);
  // x += y, or x += norm(y) where there is a gain.
  void add_output(const Gain& gain);

  const ModelConfig config_;
  const Weights weights_;
  RotaryPositions rotary_;
  DecodeFeedForward feed_forward_;
  std::vector<int64_t> positions_;             // of each row
  std::vector<kernels::CachedQuery> queries_;  // of each row
  Rows x_, normed_, q_, k_, v_, mixed_, y_;
};

}  // namespace annuli::decoding
