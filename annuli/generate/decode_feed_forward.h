#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "annuli/config/model_config.h"
#include "annuli/generate/rows.h"

// The feed-forward of a few tokens, dense or mixture: annuli::feed_forward and
// annuli::mixture on plain memory. Only the weights of experts that a row chose
// are read; all of them in one pass.
//
// State: workspace.
namespace annuli::decoding {

class DecodeFeedForward {
 public:
  explicit DecodeFeedForward(const ModelConfig& config) : config_(config) {}

  // x: M rows, normed -> y: M rows. Ties of a router fall as for the first
  // token of a block.
  void run(const LayerWeights& weights, int64_t layer, Rows& x, Rows& y);

 private:
  // The rows of one expert: `count` from `first` on.
  struct Group {
    const FeedForward* weights;
    int64_t first;
    int64_t count;
    int64_t inner = 0;  // where its inner activations begin
  };

  void route(const LayerWeights& weights, int64_t layer, Rows& x);
  std::vector<Group> gather(const LayerWeights& weights, Rows& x);
  void combine(const LayerWeights& weights, Rows& y);
  void apply(std::vector<Group> groups, Rows& in, Rows& out);
  void make_room(std::vector<Group>& groups);
  void inner_products(const std::vector<Group>& groups, Rows& in);
  void activate(const std::vector<Group>& groups);

  const ModelConfig& config_;
  Rows router_logits_, shared_gate_;
  std::vector<int64_t> experts_;  // [M, k], best first
  std::vector<int64_t> slots_;    // [M, k], the row of slot_in_ of each choice
  std::vector<float> gates_;      // [M, k]
  std::vector<float> chosen_;     // [M] sum of the chosen probabilities
  Rows slot_in_, slot_out_;
  at::Tensor up_, gate_;  // inner activations, one dimension
};

}  // namespace annuli::decoding
