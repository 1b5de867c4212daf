#include "annuli/model/transformer.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/stack.h>

#include <optional>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/kernels/attention.h"
#include "annuli/kernels/linear_cross_entropy.h"
#include "annuli/kernels/mixture.h"
#include "annuli/kernels/rms_norm.h"
#include "annuli/model/attention.h"
#include "annuli/model/checkpointing.h"
#include "annuli/model/feed_forward.h"
#include "annuli/model/kv_cache.h"
#include "annuli/model/mixture.h"
#include "annuli/model/projection.h"
#include "annuli/model/rope_frequencies.h"

namespace annuli {

constexpr int64_t kHeadRows = 512;  // tokens whose logits exist at once

// What a forward pass gathers along the way for the loss.
struct Transformer::Gathered {
  std::vector<at::Tensor> router_logits;
  std::vector<kernels::Routing> routings;
  std::vector<at::Tensor> router_mean;
};

Transformer::Transformer(ModelConfig config, NumberTypes numbers,
                         at::Device device)
    : config_(std::move(config)),
      table_(tensor_table(config_)),
      numbers_(numbers),
      device_(device),
      weights_(table_.size()) {
  for (size_t row = 0; row < table_.size(); ++row) {
    const TensorSpec& spec = table_[row];
    row_of_[{spec.part, spec.layer, spec.expert}] = row;
  }
}

const at::Tensor& Transformer::weight(const std::string& name) const {
  const int64_t row = find_row(table_, name);
  ANNULI_CHECK(row >= 0, "no tensor {}", name);
  return weights_[row];
}

void Transformer::set_weight(size_t row, at::Tensor value) {
  const TensorSpec& spec = table_.at(row);
  ANNULI_CHECK(value.sizes() == at::IntArrayRef(spec.shape()), "{}", spec.name);
  ANNULI_CHECK(value.scalar_type() == numbers_.weights, "{}", spec.name);
  ANNULI_CHECK(value.device() == device_, "{}", spec.name);
  weights_[row] = std::move(value);
}

at::Tensor Transformer::take_weight(size_t row) {
  return std::exchange(weights_.at(row), at::Tensor());
}

void Transformer::set_stored_weight(size_t row, at::Tensor value) {
  const TensorSpec& spec = table_.at(row);
  ANNULI_CHECK(value.sizes() == at::IntArrayRef(spec.shape()), "{}", spec.name);
  ANNULI_CHECK(at::isFloatingType(value.scalar_type()), "{}", spec.name);
  ANNULI_CHECK(value.device() == device_, "{}", spec.name);
  weights_[row] = std::move(value);
}

at::Tensor Transformer::part(Part part, int64_t layer, int64_t expert) const {
  const size_t row = row_of_.at({part, layer, expert});
  ANNULI_CHECK(weights_[row].defined(), "{} is not initialised",
               table_[row].name);
  return weights_[row];
}

at::Tensor Transformer::optional(Part which, int64_t layer,
                                 int64_t expert) const {
  return row_of_.contains({which, layer, expert}) ? part(which, layer, expert)
                                                  : at::Tensor();
}

Matrix Transformer::matrix(const at::Tensor& weight,
                           const ForwardOptions& options) const {
  if (!weight.defined() || !options.as_trained) return weight;
  if (numbers_.products == numbers_.arithmetic) return weight;
  return {weight, weight.detach().to(numbers_.products)};
}

at::Tensor Transformer::norm(const at::Tensor& x, Part gain,
                             int64_t layer) const {
  return kernels::rms_norm(x, widened(part(gain, layer), x.scalar_type()),
                           config_.rms_norm_eps);
}

at::Tensor Transformer::attention_block(const at::Tensor& x, int64_t layer,
                                        const kernels::RotaryTable& rotary,
                                        const ForwardOptions& options,
                                        LayerTrace* trace) const {
  const AttentionWeights weights{
      .q = matrix(part(Part::kQ, layer), options),
      .k = matrix(part(Part::kK, layer), options),
      .v = matrix(part(Part::kV, layer), options),
      .o = matrix(part(Part::kO, layer), options),
      .q_norm = optional(Part::kQNorm, layer),
      .k_norm = optional(Part::kKNorm, layer),
      .q_bias = optional(Part::kQBias, layer),
      .k_bias = optional(Part::kKBias, layer),
      .v_bias = optional(Part::kVBias, layer),
      .o_bias = optional(Part::kOBias, layer),
  };
  const at::Tensor input = pre_norm() ? norm(x, Part::kInputNorm, layer) : x;
  const at::Tensor y =
      attention(input, weights, config_, rotary, options.cache, layer, trace);
  return x + (pre_norm() ? y : norm(y, Part::kAttentionOutNorm, layer));
}

FeedForwardWeights Transformer::feed_forward_weights(
    int64_t layer, int64_t expert, const ForwardOptions& options) const {
  return {.gate = matrix(optional(Part::kGate, layer, expert), options),
          .up = matrix(part(Part::kUp, layer, expert), options),
          .down = matrix(part(Part::kDown, layer, expert), options),
          .gate_bias = optional(Part::kGateBias, layer, expert),
          .up_bias = optional(Part::kUpBias, layer, expert),
          .down_bias = optional(Part::kDownBias, layer, expert)};
}

at::Tensor Transformer::feed_forward_block(const at::Tensor& x, int64_t layer,
                                           const ForwardOptions& options,
                                           LayerTrace* trace,
                                           Gathered* gathered) const {
  const at::Tensor input = pre_norm() ? norm(x, Part::kPostNorm, layer) : x;
  const at::Tensor rows = input.detach().reshape({-1, config_.hidden_size});
  if (trace != nullptr) trace->ffn_input = rows;
  const at::Tensor y =
      feed_forward_of(input, rows, layer, options, trace, gathered);
  return x + (pre_norm() ? y : norm(y, Part::kFeedForwardOutNorm, layer));
}

at::Tensor Transformer::feed_forward_of(const at::Tensor& x,
                                        const at::Tensor& rows, int64_t layer,
                                        const ForwardOptions& options,
                                        LayerTrace* trace,
                                        Gathered* gathered) const {
  if (!config_.is_mixture()) {
    return feed_forward(x, feed_forward_weights(layer, -1, options),
                        config_.hidden_act);
  }
  const auto expert = [&](int64_t e) {
    return feed_forward_weights(layer, e, options);
  };
  // Every layer breaks its own ties.
  const uint64_t seed = options.tie_break_seed * 0x9E3779B97F4A7C15ULL + layer;
  MixtureOutput output =
      mixture(x, part(Part::kRouter, layer), optional(Part::kSharedGate, layer),
              expert, config_, options.dispatch, seed);
  if (trace != nullptr) {
    trace->router_logits = output.router_logits.detach();
    trace->experts = output.routing.experts;
  }
  if (gathered != nullptr) {
    gathered->router_logits.push_back(output.router_logits);
    gathered->routings.push_back(output.routing);
    gathered->router_mean.push_back(rows.mean(0));
  }
  return output.y;
}

at::Tensor Transformer::embed(const at::Tensor& tokens,
                              const ForwardOptions& options) const {
  ANNULI_CHECK(tokens.dim() == 2, "tokens are [B, T]");
  return widened(at::embedding(part(Part::kEmbedding), tokens),
                 arithmetic(options));
}

at::Tensor Transformer::block(const at::Tensor& x, int64_t layer,
                              const kernels::RotaryTable& rotary,
                              const ForwardOptions& options, LayerTrace* trace,
                              Gathered* gathered) const {
  const at::Tensor attended = attention_block(x, layer, rotary, options, trace);
  const at::Tensor y =
      feed_forward_block(attended, layer, options, trace, gathered);
  if (trace != nullptr) trace->residual = y.detach();
  return y;
}

// What the loss reads of a mixture leaves the block beside y, as further
// outputs: gradients flow into the router's logits and probabilities.
at::Tensor Transformer::checkpointed_block(const at::Tensor& x, int64_t layer,
                                           const kernels::RotaryTable& rotary,
                                           const ForwardOptions& options,
                                           Gathered* gathered) const {
  const auto run = [this, layer, rotary, options](
                       const at::Tensor& input) -> std::vector<at::Tensor> {
    Gathered own;
    const at::Tensor y = block(input, layer, rotary, options, nullptr, &own);
    if (!config_.is_mixture()) return {y};
    return {y, own.router_logits[0], own.routings[0].probabilities,
            own.routings[0].experts, own.router_mean[0]};
  };
  const std::vector<at::Tensor> outputs = checkpointed(x, run);
  if (config_.is_mixture() && gathered != nullptr) {
    gathered->router_logits.push_back(outputs[1]);
    gathered->routings.push_back(
        {.probabilities = outputs[2], .experts = outputs[3]});
    gathered->router_mean.push_back(outputs[4].detach());
  }
  return outputs[0];
}

at::Tensor Transformer::block(const at::Tensor& x, int64_t layer,
                              const ForwardOptions& options,
                              LayerTrace* trace) const {
  ANNULI_CHECK(options.cache == nullptr, "a block by itself has no cache");
  const auto rotary = kernels::rotary_table(
      0, x.size(1), rope_frequencies(config_, arithmetic(options), device_));
  return block(x, layer, rotary, options, trace, nullptr);
}

at::Tensor Transformer::forward(const at::Tensor& tokens,
                                const ForwardOptions& options,
                                Gathered* gathered) const {
  const at::ScalarType dtype = arithmetic(options);
  const int64_t seen = options.cache == nullptr ? 0 : options.cache->length();
  at::Tensor x = embed(tokens, options);
  const int64_t T = tokens.size(1);
  const auto rotary =
      kernels::rotary_table(seen, T, rope_frequencies(config_, dtype, device_));
  ANNULI_CHECK(!options.gradient_checkpointing ||
                   (options.trace == nullptr && options.cache == nullptr),
               "a checkpointed pass leaves no trace and no cache");
  if (options.trace != nullptr) {
    options.trace->embedding = x.detach();
    options.trace->layers.assign(config_.num_hidden_layers, {});
  }
  for (int64_t layer = 0; layer < config_.num_hidden_layers; ++layer) {
    LayerTrace* trace =
        options.trace == nullptr ? nullptr : &options.trace->layers[layer];
    x = options.gradient_checkpointing
            ? checkpointed_block(x, layer, rotary, options, gathered)
            : block(x, layer, rotary, options, trace, gathered);
  }
  if (options.cache != nullptr) options.cache->advance(T);
  return final_norm(x);
}

at::Tensor Transformer::hidden_states(const at::Tensor& tokens,
                                      const ForwardOptions& options) const {
  return forward(tokens, options, nullptr);
}

at::Tensor Transformer::logits(const at::Tensor& tokens,
                               const ForwardOptions& options) const {
  return head(forward(tokens, options, nullptr));
}

at::Tensor Transformer::final_norm(const at::Tensor& x) const {
  return norm(x, Part::kFinalNorm, -1);
}

at::Tensor Transformer::head(const at::Tensor& hidden) const {
  return project(head_input(hidden), part(head_part()));
}

// The multiplier of the logits is applied to what the head reads: the logits
// need not exist for it.
at::Tensor Transformer::head_input(const at::Tensor& hidden) const {
  return config_.logit_multiplier == 1 ? hidden
                                       : hidden * config_.logit_multiplier;
}

Loss Transformer::loss(const at::Tensor& tokens, const at::Tensor& targets,
                       const LossOptions& options) const {
  ForwardOptions forward_options;
  forward_options.dispatch = options.dispatch;
  forward_options.tie_break_seed = options.tie_break_seed;
  forward_options.gradient_checkpointing = options.gradient_checkpointing;
  forward_options.as_trained = options.as_trained;
  Gathered gathered;
  const at::Tensor hidden = forward(tokens, forward_options, &gathered);
  Loss loss;
  const Matrix head = matrix(part(head_part()), forward_options);
  loss.cross_entropy = kernels::linear_cross_entropy(
      head_input(hidden).reshape({-1, config_.hidden_size}),
      head.operand.defined() ? head.weight : widened(head.weight, dtype()),
      targets.reshape({-1}), kHeadRows, head.operand);
  loss.total = loss.cross_entropy;
  if (!config_.is_mixture()) return loss;

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
