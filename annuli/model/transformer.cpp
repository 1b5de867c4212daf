#include "annuli/model/transformer.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/stack.h>

#include <utility>

#include "annuli/core/error.h"
#include "annuli/kernels/memory/lent_memory.h"
#include "annuli/kernels/memory/owned_memory.h"
#include "annuli/kernels/tensor_words.h"
#include "annuli/model/coded_weights.h"
#include "annuli/model/forward.h"
#include "annuli/model/kv_cache.h"
#include "annuli/model/tensor_ops.h"
#include "annuli/model/weight_parts.h"

namespace annuli {

Transformer::Transformer(const ModelConfig& config, NumberTypes numbers,
                         at::Device device)
    : config_(config),
      table_(tensor_table(config_)),
      index_(table_),
      numbers_(numbers),
      device_(device),
      weights_(table_.size()) {
  if (!numbers_.coded) return;
  codes_.resize(table_.size());
  coded_ = std::make_shared<const CodedWeights>(table_);
}

const at::Tensor& Transformer::weight(const std::string& name) const {
  const int64_t row = find_row(table_, name);
  ANNULI_CHECK(row >= 0, "no tensor {}", name);
  return weights_[row];
}

void Transformer::set_weight(size_t row, at::Tensor value) {
  const TensorSpec& spec = table_.at(row);
  ANNULI_CHECK(value.sizes() == at::IntArrayRef(spec.shape()) &&
                   value.scalar_type() == weight_dtype(row) &&
                   value.device() == device_,
               "{} is {}", spec.name, kernels::words_of(value));
  if (is_coded(row)) return set_codes(row, kernels::to_codes(value));
  weights_[row] = std::move(value);
}

void Transformer::set_codes(size_t row, kernels::CodedMatrix codes) {
  ANNULI_CHECK(is_coded(row) && codes.codes.sizes() ==
                                    at::IntArrayRef(table_.at(row).shape()),
               "{} as codes", table_.at(row).name);
  codes_[row] = std::move(codes);
  weights_[row] =
      at::empty(table_[row].shape(),
                at::TensorOptions().dtype(weight_dtype(row)).device(device_));
  kernels::give_up_memory(weights_[row]);
}

at::Tensor Transformer::take_weight(size_t row) {
  if (is_coded(row)) codes_[row] = {};
  return std::exchange(weights_.at(row), at::Tensor());
}

void Transformer::set_stored_weight(size_t row, at::Tensor value) {
  const TensorSpec& spec = table_.at(row);
  ANNULI_CHECK(value.sizes() == at::IntArrayRef(spec.shape()) &&
                   at::isFloatingType(value.scalar_type()) &&
                   value.device() == device_,
               "{} is {}", spec.name, kernels::words_of(value));
  weights_[row] = std::move(value);
}

at::Tensor Transformer::read_weight(size_t row) const {
  if (is_coded(row)) {
    const at::AutoGradMode without_graph(false);
    at::Tensor copy =
        kernels::owned_empty(table_[row].shape(), weight_dtype(row), device_);
    kernels::from_codes(codes_[row], copy);
    return copy;
  }
  return parts_ == nullptr ? weight(row) : parts_->read(*this, row);
}

const LentWeights* Transformer::lent() const {
  if (coded_ != nullptr) return coded_.get();
  return parts_.get();
}

void Transformer::set_parts(std::shared_ptr<const WeightParts> parts) {
  parts_ = std::move(parts);
}

at::Tensor Transformer::embed(const at::Tensor& tokens,
                              const ForwardOptions& options) const {
  return TensorOps(*this, options).embed(tokens);
}

at::Tensor Transformer::block(const at::Tensor& x, int64_t layer,
                              const ForwardOptions& options,
                              LayerTrace* trace) const {
  ANNULI_CHECK(options.cache == nullptr, "a block by itself has no cache");
  Trace own;
  own.layers.resize(config_.num_hidden_layers);
  ForwardOptions alone = options;
  alone.trace = trace == nullptr ? nullptr : &own;
  alone.gradient_checkpointing = false;
  TensorOps ops(*this, alone);
  ops.set_positions(0, x.size(1));
  const at::Tensor y = ops.run_block(x, layer);
  if (trace != nullptr) *trace = std::move(own.layers[layer]);
  return y;
}

at::Tensor Transformer::hidden_states(const at::Tensor& tokens,
                                      const ForwardOptions& options) const {
  ANNULI_CHECK(!options.gradient_checkpointing ||
                   (options.trace == nullptr && options.cache == nullptr),
               "a checkpointed pass leaves no trace and no cache");
  TensorOps ops(*this, options);
  ops.set_positions(options.cache == nullptr ? 0 : options.cache->length(),
                    tokens.size(1));
  Forward pass(config_, ops);
  const at::Tensor x = pass.stream(tokens);
  if (options.cache != nullptr) options.cache->advance(tokens.size(1));
  return pass.final_norm(x);
}

at::Tensor Transformer::logits(const at::Tensor& tokens,
                               const ForwardOptions& options) const {
  return head(hidden_states(tokens, options));
}

at::Tensor Transformer::final_norm(const at::Tensor& x) const {
  TensorOps ops(*this, {});
  return Forward(config_, ops).final_norm(x);
}

at::Tensor Transformer::head(const at::Tensor& hidden) const {
  return head(hidden, 0, config_.vocab_size);
}

at::Tensor Transformer::head(const at::Tensor& hidden, int64_t begin,
                             int64_t count) const {
  TensorOps ops(*this, {});
  return Forward(config_, ops).head(hidden, begin, count);
}

Loss Transformer::loss(const at::Tensor& tokens, const at::Tensor& targets,
                       const LossOptions& options) const {
  ForwardOptions forward_options;
  forward_options.dispatch = options.dispatch;
  forward_options.tie_break_seed = options.tie_break_seed;
  forward_options.gradient_checkpointing = options.gradient_checkpointing;
  forward_options.as_trained = options.as_trained;
  forward_options.documents = options.documents;
  Gathered gathered;
  gathered.wants_stream_squares = options.stream_squares;
  TensorOps ops(*this, forward_options, &gathered);
  ops.set_positions(0, tokens.size(1));
  Loss loss;
  loss.cross_entropy = Forward(config_, ops).loss(tokens, targets);
  loss.stream_squares = std::move(gathered.stream_squares);
  loss.total = loss.cross_entropy;
  if (!config_.is_mixture()) return loss;
  return add_router_losses(std::move(loss), std::move(gathered), options);
}

Loss Transformer::add_router_losses(Loss loss, Gathered gathered,
                                    const LossOptions& options) const {
  loss.aux =
      kernels::load_balancing_loss(gathered.routings, config_.num_experts);
  std::vector<at::Tensor> z;
  for (const at::Tensor& logits : gathered.router_logits) {
    z.push_back(kernels::router_z_loss(logits));
  }
  loss.z = at::stack(z).mean();
  if (options.router_aux_loss_coef != 0) {
    loss.total = loss.total + options.router_aux_loss_coef * loss.aux;
  }
  if (options.router_z_loss_coef != 0) {
    loss.total = loss.total + options.router_z_loss_coef * loss.z;
  }
  for (const kernels::Routing& routing : gathered.routings) {
    loss.load.push_back(
        kernels::expert_load(routing.experts, config_.num_experts));
  }
  loss.router_mean = std::move(gathered.router_mean);
  return loss;
}

}  // namespace annuli
