#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <vector>

#include "annuli/kernels/attention.h"
#include "annuli/kernels/feed_forward.h"
#include "annuli/kernels/mixture.h"
#include "annuli/model/forward_ops.h"
#include "annuli/model/transformer.h"

// The operations of forward.h on tensors, with a graph where gradients are
// recorded: what Transformer runs.
//
// State: the model (borrowed), how it is to be run, the rotary angles of the
// pass, and what traces and the loss are given along the way. A copy runs the
// same pass.
namespace annuli {

// What a forward pass gathers along the way for the loss.
struct Gathered {
  std::vector<at::Tensor> router_logits;
  std::vector<kernels::Routing> routings;
  std::vector<at::Tensor> router_mean;
  at::Tensor head;  // a tied table as the head reads it, if it is recorded
  bool wants_stream_squares = false;
  std::vector<double> stream_squares;  // Loss'
};

class TensorOps {
 public:
  using Tokens = at::Tensor;  // [B, T] int64
  using Value = at::Tensor;
  using Routing = kernels::Routing;

  // `gathered` is filled if given.
  TensorOps(const Transformer& model, const ForwardOptions& options,
            Gathered* gathered = nullptr)
      : model_(model), options_(options), gathered_(gathered) {}

  // Tokens first .. first + T - 1 are read; before the first block.
  void set_positions(int64_t first, int64_t T);

  at::Tensor embed(const at::Tensor& tokens);
  // Of the outermost pass: a block that is repeated is run once.
  at::Tensor run_block(const at::Tensor& x, int64_t layer);
  at::Tensor norm(const at::Tensor& x, NormParts parts, int64_t layer,
                  Reader reader) const;
  at::Tensor project(const at::Tensor& x, LinearParts linear,
                     int64_t layer) const;
  std::array<at::Tensor, 3> project_all(const at::Tensor& x,
                                        const std::array<LinearParts, 3>& parts,
                                        int64_t layer) const;
  at::Tensor score(const at::Tensor& x, Part matrix, int64_t layer) const;
  at::Tensor heads(const at::Tensor& x) const;
  std::array<at::Tensor, 3> split_heads(const at::Tensor& x) const;
  at::Tensor attend(const at::Tensor& q, const at::Tensor& k,
                    const at::Tensor& v, int64_t layer) const;
  at::Tensor add(const at::Tensor& x, const at::Tensor& y) const;
  at::Tensor scale(const at::Tensor& x, double factor) const;
  at::Tensor feed_forward(const at::Tensor& x, const FeedForwardParts& parts,
                          int64_t layer) const;
  at::Tensor flat(const at::Tensor& x) const;
  at::Tensor shaped_as(const at::Tensor& y, const at::Tensor& x) const;
  Routing route(const at::Tensor& rows, const at::Tensor& scores,
                int64_t layer) const;
  ExpertOutputs<at::Tensor> experts(const at::Tensor& rows,
                                    const Routing& routing,
                                    const FeedForwardParts& parts,
                                    int64_t layer, bool shared) const;
  at::Tensor weigh(const at::Tensor& y, const Routing& routing) const;
  at::Tensor add_gated(const at::Tensor& y, const at::Tensor& x,
                       const at::Tensor& gate) const;
  at::Tensor head(const at::Tensor& rows, Part part, int64_t begin,
                  int64_t count) const;
  at::Tensor cross_entropy(const at::Tensor& rows, Part part,
                           const at::Tensor& targets) const;

 private:
  at::Tensor kept_block(const at::Tensor& x, int64_t layer);
  at::Tensor repeatable_block(const at::Tensor& x, int64_t layer);
  at::Tensor attend_in_steps(at::Tensor q, at::Tensor k, at::Tensor v,
                             int64_t layer) const;
  // As it is stored. `optional` gives an undefined tensor for what the table
  // does not have.
  at::Tensor stored(Part part, int64_t layer, int64_t expert) const;
  at::Tensor optional(Part part, int64_t layer, int64_t expert) const;
  // As products read them.
  kernels::LinearLayer layer_of(LinearParts linear, int64_t layer,
                                int64_t expert = -1) const;
  kernels::FeedForward layer_of(const FeedForwardParts& parts, int64_t layer,
                                int64_t expert) const;
  void begin_trace(const at::Tensor& embedding) const;
  // Of the layer, where a trace is asked for.
  LayerTrace* trace(int64_t layer) const;

  const ModelConfig& config() const { return model_.config(); }
  at::ScalarType arithmetic() const;
  // Whether products round their operands to bf16.
  bool rounds() const;
  // What goes to products alone need not be wider than they read it.
  at::ScalarType product_rows() const;

  const Transformer& model_;
  ForwardOptions options_;
  kernels::RotaryTable rotary_;
  Gathered* gathered_;
  bool in_stream_ = false;  // all blocks follow, one after the other
  bool goes_back_ = false;  // a repeated block's first pass: it is repeated
};

}  // namespace annuli
