#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "annuli/config/model_config.h"
#include "annuli/kernels/quantize/weight_codes.h"
#include "annuli/model/number_types.h"
#include "annuli/model/part_index.h"
#include "annuli/model/stored_type.h"
#include "annuli/model/tensor_table.h"

// The decoder-only transformer of every phase, dense or mixture: its weights,
// and the ways to run them. What is computed stands in forward.h, how it is
// done with tensors in tensor_ops.h.
//
// State: the config, its tensor table, and one tensor per row of the table (in
// the same order), on one device; where several processes hold it in parts,
// what they own (weight_parts.h). A copy shares the tensors. Nothing else
// moves: forward passes are pure functions of weights and tokens, and all
// randomness (the breaking of router ties) is drawn from counters.
//
// Numbers (number_types.h): `dtype` (fp32 or fp64) is what the model computes
// in. Weights are of that type or, trained in pure bf16, of bf16; so are all
// of them but selection biases (stored_type.h), unless `set_stored_weight` gave
// one of another type (mapped bf16):
// that one cannot be trained. A weight of another type than the arithmetic's is
// widened each time it is used (projection.h), matrices a few rows at a time,
// so that a model larger than memory can be run.
//
// Where `numbers` say so, the layers' matrices are held as codes
// (coded_weights.h): their tensors are there, without memory but in a block's
// pass, and `read_weight` widens a copy. `set_weight` rounds to the nearest
// codes.
//
// Products of training may be rounded to bf16, but only where `as_trained` asks
// for it: proofs, evaluation and generation judge the weights in full
// arithmetic.
//
// Corner cases: an undefined weight is an uninitialised one; `forward` refuses
// to run on it. A tied head uses row 0. Tokens are int64, 0 <= id < V,
// T <= max_position_embeddings is not enforced (RoPE has no table to overrun).
//
// Letters: B batch, T tokens, D hidden_size, H heads, K kv heads, F
// intermediate_size, E experts, V vocabulary.
namespace annuli {

class KvCache;
class CodedWeights;
class LentWeights;
class WeightParts;
struct Gathered;

// Which arithmetic the mixture uses. Both compute the same function.
enum class Dispatch {
  kSorted,     // tokens sorted by expert, one GEMM per expert: what trains
  kFullBlock,  // every expert over the whole block, in the dense layer's GEMM
               // shapes: the plain reference, bit-comparable with a dense FFN
};

// What one layer did; filled on request, detached.
struct LayerTrace {
  at::Tensor residual;       // [B, T, D] after the block
  at::Tensor q;              // [B, T, H, head_dim] after norm and RoPE
  at::Tensor k;              // [B, T, K, head_dim] after norm and RoPE
  at::Tensor ffn_input;      // [B*T, D], what feed-forward and router read
  at::Tensor router_logits;  // [B*T, E], mixture only
  at::Tensor selection;      // [B*T, E], what experts were chosen by, where
                             // there are selection biases
  at::Tensor experts;        // [B*T, k] int64, chosen, best first
};

struct Trace {
  at::Tensor embedding;  // [B, T, D]
  std::vector<LayerTrace> layers;
};

struct ForwardOptions {
  Dispatch dispatch = Dispatch::kSorted;
  Trace* trace = nullptr;       // filled if given
  KvCache* cache = nullptr;     // read and extended if given
  uint64_t tie_break_seed = 0;  // exact router ties fall by this seed
  // Compute in fp64 whatever the model's dtype: for proofs. Weights are widened
  // a few rows at a time as they are used.
  bool double_arithmetic = false;
  // Where gradients are recorded, keep of each block only its input and repeat
  // its pass in the backward pass (checkpointing.h).
  bool gradient_checkpointing = false;
  bool as_trained = false;  // matrix products in numbers().products
  // Attention stays within documents, positions begin anew with each
  // (kernels/documents.h); undefined: each sequence is one. Without a cache and
  // a trace alone.
  at::Tensor documents;
};

struct LossOptions {
  double router_aux_loss_coef = 0;
  double router_z_loss_coef = 0;
  Dispatch dispatch = Dispatch::kSorted;
  uint64_t tie_break_seed = 0;
  bool gradient_checkpointing = false;  // same bits, less memory, slower
  bool as_trained = false;              // matrix products in numbers().products
  bool stream_squares = false;          // those of Loss are wanted
  at::Tensor documents;                 // ForwardOptions'
};

struct Loss {
  at::Tensor total;                        // scalar, what backward starts from
  at::Tensor cross_entropy;                // scalar, mean over the tokens, nats
  at::Tensor aux;                          // scalar, undefined if dense
  at::Tensor z;                            // scalar, undefined if dense
  std::vector<std::vector<int64_t>> load;  // [L][E] slots, empty if dense
  std::vector<at::Tensor> router_mean;     // [L] of [D], mean router input
  // [L] mean square of the residual stream's entries after each block; empty
  // unless wanted.
  std::vector<double> stream_squares;
};

// Receives each parameter's gradient as soon as it is complete, in backward
// order; the gradient is freed when the sink returns unless the sink keeps it.
// It is of the arithmetic's type, whatever the weights are stored in.
using GradientSink = std::function<void(size_t row, const at::Tensor& grad)>;

class Transformer {
 public:
  // Weights are undefined until set. A single type will do for `numbers`.
  Transformer(const ModelConfig& config, NumberTypes numbers,
              at::Device device = at::kCPU);

  const ModelConfig& config() const { return config_; }
  const TensorTable& table() const { return table_; }
  const PartIndex& index() const { return index_; }
  const NumberTypes& numbers() const { return numbers_; }
  at::ScalarType dtype() const { return numbers_.arithmetic; }
  at::ScalarType weight_dtype() const { return numbers_.weights; }
  // Of a row (stored_type.h).
  at::ScalarType weight_dtype(size_t row) const {
    return stored_type(table_[row], numbers_.weights);
  }
  // What training multiplies in from now on; weights stay as they are.
  void set_products(at::ScalarType products) { numbers_.products = products; }
  at::Device device() const { return device_; }

  // The tensor of a row. `set` checks shape, device and type (that of the row).
  const at::Tensor& weight(size_t row) const { return weights_[row]; }
  const at::Tensor& weight(const std::string& name) const;
  void set_weight(size_t row, at::Tensor value);
  // Any floating type and any strides, for forward passes only.
  void set_stored_weight(size_t row, at::Tensor value);
  // The row's weight wherever it lies; where processes hold parts, all of them
  // call it (weight_parts.h).
  at::Tensor read_weight(size_t row) const;
  // Whether forward passes build a graph.
  bool records() const { return records_; }
  // Null: all weights are here.
  const WeightParts* parts() const { return parts_.get(); }
  void set_parts(std::shared_ptr<const WeightParts> parts);
  // Whether the row is held as codes; the tensors of `codes` are those of a
  // model and its copies, as weights are.
  bool is_coded(size_t row) const {
    return numbers_.coded && annuli::is_coded(table_[row]);
  }
  const kernels::CodedMatrix& codes(size_t row) const { return codes_[row]; }
  void set_codes(size_t row, kernels::CodedMatrix codes);
  // What a block's pass asks for its weights; null: all are here.
  const LentWeights* lent() const;
  // Takes the tensor out and leaves the row undefined: growth frees the parent
  // row by row.
  at::Tensor take_weight(size_t row);

  // Logits, [B, T, V].
  at::Tensor logits(const at::Tensor& tokens,  // [B, T] int64
                    const ForwardOptions& options = {}) const;

  // The residual stream after the final norm, [B, T, D].
  at::Tensor hidden_states(const at::Tensor& tokens,
                           const ForwardOptions& options = {}) const;

  // The forward pass in steps, for those who hold two models against each
  // other: the embedding [B, T, D], `block` for every layer in turn, the final
  // norm, and the head, which gives logits [B, T, V]. No cache.
  at::Tensor embed(const at::Tensor& tokens,  // [B, T] int64
                   const ForwardOptions& options = {}) const;
  at::Tensor block(const at::Tensor& x, int64_t layer,  // [B, T, D]
                   const ForwardOptions& options = {},
                   LayerTrace* trace = nullptr) const;
  at::Tensor final_norm(const at::Tensor& x) const;
  at::Tensor head(const at::Tensor& hidden) const;
  // The same for tokens begin .. begin + count - 1 of the vocabulary alone.
  at::Tensor head(const at::Tensor& hidden, int64_t begin, int64_t count) const;

  // Mean next-token cross-entropy plus weighted router losses. Never holds all
  // logits. With gradients enabled (see backward) the result carries a graph.
  Loss loss(const at::Tensor& tokens,   // [B, T] int64
            const at::Tensor& targets,  // [B, T] int64
            const LossOptions& options = {}) const;

  // Runs the backward pass of `total` and hands every parameter's gradient to
  // the sink. Afterwards no gradient is held. `total` must come from `loss`
  // called inside a GradientScope of this model.
  void backward(const at::Tensor& total, const GradientSink& sink);

 private:
  friend class GradientScope;

  Loss add_router_losses(Loss loss, Gathered gathered,
                         const LossOptions& options) const;

  ModelConfig config_;
  TensorTable table_;
  PartIndex index_;
  NumberTypes numbers_;
  at::Device device_;
  std::vector<at::Tensor> weights_;
  std::shared_ptr<const WeightParts> parts_;
  std::vector<kernels::CodedMatrix> codes_;  // by row, if any is coded
  std::shared_ptr<const CodedWeights> coded_;
  bool records_ = false;  // within a GradientScope
};

// While it lives, the model's weights record gradients, but for selection
// biases and rows that are `frozen` (by row; empty: none is); otherwise no
// forward pass builds a graph. The graph reaches down to the embedding whatever
// is frozen.
class GradientScope {
 public:
  explicit GradientScope(Transformer& model,
                         const std::vector<bool>& frozen = {});
  ~GradientScope();
  GradientScope(const GradientScope&) = delete;
  GradientScope& operator=(const GradientScope&) = delete;

 private:
  Transformer& model_;
};

// Fills every weight as first_values.h has it; each tensor from its own stream
// of `seed`.
void initialize(Transformer& model, uint64_t seed);

}  // namespace annuli
