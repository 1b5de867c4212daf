#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "annuli/budget/sizes.h"
#include "annuli/model/forward_ops.h"
#include "annuli/model/part_index.h"

// The operations of forward.h on sizes: a pass that computes nothing and counts
// what a training step keeps of it, works with, and computes. So the budget
// follows every change of the forward pass; each operation here says what its
// kernel saves for the backward pass, in the words of tensor_ops.h.
//
// State: the counts so far. A tensor that several operations keep counts once,
// because it is one value.
namespace annuli::budget {

// One tensor: so many columns, so many rows for each token.
struct SizedTensor {
  int64_t columns;
  int64_t rows_per_token = 1;
  bool is_kept = false;           // as it is
  bool is_kept_narrowed = false;  // as a product reads it, if that is rounded
};

// Parameters that a token is multiplied with, and the work of its attention
// among all tokens of its sequence, in multiplications and additions.
struct PassWork {
  double blocks = 0;
  double head = 0;
  double attention = 0;
};

class SizeOps {
 public:
  struct Tokens {};
  struct Routing {};
  using Value = std::shared_ptr<SizedTensor>;

  // `length`: tokens of a sequence. config and numbers are borrowed.
  SizeOps(const ModelConfig& config, const NumberTypes& numbers, int64_t rows,
          int64_t length, bool gradient_checkpointing = false);

  const Sizes& size() const { return size_; }
  // Bytes that wait for the backward pass; those of the last block by itself.
  int64_t kept() const { return kept_; }
  int64_t kept_of_block() const { return kept_of_block_; }
  // The head's block of logits and what goes with it.
  int64_t head() const { return head_; }
  // The widest moment of a block without a graph, beside the stream.
  int64_t widest() const { return widest_; }
  // Entries that a feed-forward, or one expert, has between its products; and
  // how many products lead there.
  int64_t inner_entries() const { return inner_entries_; }
  int64_t branches() const { return branches_; }
  const PassWork& work() const { return work_; }

  Value embed(Tokens tokens);
  Value run_block(const Value& x, int64_t layer);
  Value norm(const Value& x, NormParts parts, int64_t layer, Reader reader);
  Value project(const Value& x, LinearParts linear, int64_t layer);
  Value score(const Value& x, Part matrix, int64_t layer);
  std::array<Value, 3> project_all(const Value& x,
                                   const std::array<LinearParts, 3>& parts,
                                   int64_t layer);
  Value heads(const Value& x) const { return x; }
  std::array<Value, 3> split_heads(const Value& x) const;
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
  Value weigh(const Value& y, Routing routing);
  Value add_gated(const Value& y, const Value& x, const Value& gate);
  Value cross_entropy(const Value& rows, Part part, Tokens targets);

 private:
  // The backward pass reads the tensor; or, rounded, as a factor of a product.
  void keep(const Value& x);
  void keep_rows(const Value& x);
  // What a layer gives; a token goes through it `share` times.
  Value through(Part matrix, int64_t layer, int64_t expert = -1,
                double share = 1);
  // Products of a feed-forward and the inputs of its activation.
  void count_products(const FeedForwardParts& parts, int64_t layer,
                      int64_t expert, double share);
  void keep_inner(const FeedForwardParts& parts, int64_t layer, int64_t expert,
                  int64_t rows_per_token);
  int64_t inner_width(const FeedForwardParts& parts, int64_t layer,
                      int64_t expert) const;
  int64_t bytes(const Value& x) const;
  const TensorSpec& spec(Part part, int64_t layer, int64_t expert) const;

  const ModelConfig& config_;
  const NumberTypes& numbers_;
  const TensorTable table_;
  const Sizes size_;
  const PartIndex index_;
  int64_t length_;
  bool gradient_checkpointing_;

  int64_t kept_ = 0;
  int64_t kept_of_block_ = 0;
  int64_t head_ = 0;
  int64_t widest_ = 0;
  int64_t inner_entries_ = 0;
  int64_t branches_ = 0;
  PassWork work_;
};

}  // namespace annuli::budget
