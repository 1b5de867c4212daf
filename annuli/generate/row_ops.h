#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "annuli/generate/decode_feed_forward.h"
#include "annuli/generate/decode_weights.h"
#include "annuli/generate/rotary_positions.h"
#include "annuli/generate/rows.h"
#include "annuli/kernels/cached_attention.h"
#include "annuli/model/forward_ops.h"
#include "annuli/model/kv_cache.h"

// The operations of forward.h on rows of plain memory, one row a token: what
// DecodeStep runs. fp32; the weights are read where they lie.
//
// State: views of the weights, the rotary angles that were needed so far, the
// rows that the last `embed` was given (borrowed), and workspace.
namespace annuli::decoding {

// A token and the sequence that it continues. Rows of one sequence stand
// together, in order: they are successive tokens.
struct Row {
  KvCache* cache;
  int32_t id;
};

class RowOps {
 public:
  using Tokens = std::span<const Row>;
  using Value = std::shared_ptr<Rows>;
  using Routing = const RowRouting*;  // until the next is made

  // `model` must be readable (decode_weights.h).
  explicit RowOps(const Transformer& model);

  Value embed(Tokens rows);
  Value run_block(const Value& x, int64_t layer);
  Value norm(const Value& x, NormParts parts, int64_t layer, Reader reader);
  Value project(const Value& x, LinearParts linear, int64_t layer);
  Value score(const Value& x, Part matrix, int64_t layer);
  std::array<Value, 3> project_all(const Value& x,
                                   const std::array<LinearParts, 3>& parts,
                                   int64_t layer);
  // Here a head is a row.
  Value heads(const Value& x) const;
  std::array<Value, 3> split_heads(const Value& x);
  Value attend(const Value& q, const Value& k, const Value& v, int64_t layer);
  Value add(const Value& x, const Value& y) const;
  Value scale(const Value& x, double factor) const;
  Value feed_forward(const Value& x, const FeedForwardParts& parts,
                     int64_t layer);
  Value flat(const Value& x) const { return x; }
  Value shaped_as(const Value& y, const Value& x) const { return y; }
  Routing route(const Value& rows, const Value& scores, int64_t layer);
  ExpertOutputs<Value> experts(const Value& rows, Routing routing,
                               const FeedForwardParts& parts, int64_t layer,
                               bool shared);
  Value weigh(const Value& y, Routing routing) const;
  Value add_gated(const Value& y, const Value& x, const Value& gate) const;
  at::Tensor head(const Value& rows, Part part, int64_t begin, int64_t count);

 private:
  Value multiplied(const Value& x, const Linear& linear);
  void reserve(int64_t layer) const;
  void place_heads(int64_t m, int64_t layer, Rows& q, Rows& k, const Rows& v,
                   Rows& mixed);

  const ModelConfig config_;
  const Weights weights_;
  RotaryPositions rotary_;
  DecodeFeedForward feed_forward_;
  RowsPool pool_;
  Tokens rows_;
  std::vector<int64_t> positions_;             // of each row
  std::vector<kernels::CachedQuery> queries_;  // of each row
  RowRouting routing_;
};

}  // namespace annuli::decoding
