#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "annuli/config/model_config.h"
#include "annuli/generate/decode_weights.h"
#include "annuli/generate/rows.h"

// Feed-forward layers of a few tokens on plain memory: several of them, each
// with rows of its own, in one pass over their weights. Only the weights of
// experts that a row chose are read.
namespace annuli::decoding {

// Which experts each of M tokens chose. Ties of a router fall as for the first
// token of a block.
struct RowRouting {
  std::vector<int64_t> experts;  // [M, k], best first
  std::vector<float> gates;      // [M, k]
  std::vector<float> chosen;     // [M] sum of the chosen probabilities
  int64_t k = 0;

  std::vector<float> selection;  // [E] of one token: workspace

  // scores: [M, E]. selection_bias: [E], or null.
  void choose(const Rows& scores, int64_t experts_per_token, int64_t layer,
              const float* selection_bias);
};

// State: workspace.
class DecodeFeedForward {
 public:
  // Both are borrowed.
  DecodeFeedForward(const ModelConfig& config, const Weights& weights)
      : config_(config), weights_(weights) {}

  // One layer and its rows: `count` from `first` on.
  struct Group {
    Linear up;
    Linear down;
    std::optional<Linear> gate;
    Activation activation;
    int64_t first;
    int64_t count;
    int64_t inner = 0;  // where its inner activations begin
  };
  Group group(const FeedForwardParts& parts, int64_t layer, int64_t expert,
              int64_t first, int64_t count) const;

  // Copies the M rows of x to the slots of their experts, sorted by expert.
  std::vector<Group> gather(const RowRouting& routing,
                            const FeedForwardParts& parts, int64_t layer,
                            const Rows& x, Rows& slots);
  void run(std::vector<Group> groups, const Rows& in, Rows& out);
  // The M rows' outputs from those in the slots of the last `gather`.
  void combine(const RowRouting& routing, const Rows& slots, Rows& y) const;

 private:
  void make_room(std::vector<Group>& groups);
  void inner_products(const std::vector<Group>& groups, const Rows& in);
  void activate(const std::vector<Group>& groups);

  const ModelConfig& config_;
  const Weights& weights_;
  std::vector<int64_t> slots_;  // [M, k], the slot of each choice
  at::Tensor up_, gate_;        // inner activations, one dimension
};

}  // namespace annuli::decoding
