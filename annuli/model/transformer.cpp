#include "annuli/model/transformer.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/stack.h>

#include <optional>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/kernels/attention.h"
#include "annuli/kernels/embedding.h"
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

// What a forward pass gathers along the way for the loss.
struct Transformer::Gathered {
  std::vector<at::Tensor> router_logits;
  std::vector<kernels::Routing> routings;
  std::vector<at::Tensor> router_mean;
  at::Tensor head;  // a tied table as the head reads it, if it is recorded
};

Transformer::Transformer(const ModelConfig& config, NumberTypes numbers,
                         at::Device device)
    : config_(config),
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

kernels::Matrix Transformer::matrix(Part which, int64_t layer, int64_t expert,
                                    const ForwardOptions& options) const {
  return {optional(which, layer, expert), rounds(options)};
}

kernels::LinearLayer Transformer::linear_layer(
    Part weight, Part bias, int64_t layer, int64_t expert,
    const ForwardOptions& options) const {
  return {matrix(weight, layer, expert, options),
          optional(bias, layer, expert)};
}

at::Tensor Transformer::norm(const at::Tensor& x, Part gain, int64_t layer,
                             at::ScalarType result) const {
  return kernels::rms_norm(x, part(gain, layer), config_.rms_norm_eps, result);
}

at::Tensor Transformer::attention_block(const at::Tensor& x, int64_t layer,
                                        const kernels::RotaryTable& rotary,
                                        const ForwardOptions& options,
                                        LayerTrace* trace) const {
  const auto projection = [&](Part weight, Part bias) {
    return linear_layer(weight, bias, layer, -1, options);
  };
  const AttentionWeights weights{
      .q = projection(Part::kQ, Part::kQBias),
      .k = projection(Part::kK, Part::kKBias),
      .v = projection(Part::kV, Part::kVBias),
      .o = projection(Part::kO, Part::kOBias),
      .q_norm = optional(Part::kQNorm, layer),
      .k_norm = optional(Part::kKNorm, layer),
  };
  const at::Tensor input =
      pre_norm() ? norm(x, Part::kInputNorm, layer, product_rows(options)) : x;
  const at::Tensor y =
      attention(input, weights, config_, rotary, options.cache, layer, trace);
  return x + (pre_norm()
                  ? y
                  : norm(y, Part::kAttentionOutNorm, layer, x.scalar_type()));
}

kernels::FeedForward Transformer::feed_forward_layer(
    int64_t layer, int64_t expert, const ForwardOptions& options) const {
  const auto projection = [&](Part weight, Part bias) {
    return linear_layer(weight, bias, layer, expert, options);
  };
  return {.up = projection(Part::kUp, Part::kUpBias),
          .down = projection(Part::kDown, Part::kDownBias),
          .gate = projection(Part::kGate, Part::kGateBias),
          .kind = activation_kind(config_.hidden_act)};
}

at::Tensor Transformer::feed_forward_block(const at::Tensor& x, int64_t layer,
                                           const ForwardOptions& options,
                                           LayerTrace* trace,
                                           Gathered* gathered) const {
  // A router reads it in full; experts get their rows rounded.
  const at::ScalarType type = config_.is_mixture() || trace != nullptr
                                  ? x.scalar_type()
                                  : product_rows(options);
  const at::Tensor input =
      pre_norm() ? norm(x, Part::kPostNorm, layer, type) : x;
  const at::Tensor rows = input.detach().reshape({-1, config_.hidden_size});
  if (trace != nullptr) trace->ffn_input = rows;
  const at::Tensor y =
      feed_forward_of(input, rows, layer, options, trace, gathered);
  return x + (pre_norm()
                  ? y
                  : norm(y, Part::kFeedForwardOutNorm, layer, x.scalar_type()));
}

at::Tensor Transformer::feed_forward_of(const at::Tensor& x,
                                        const at::Tensor& rows, int64_t layer,
                                        const ForwardOptions& options,
                                        LayerTrace* trace,
                                        Gathered* gathered) const {
  if (!config_.is_mixture()) {
    return annuli::feed_forward(x, feed_forward_layer(layer, -1, options));
  }
  const auto expert = [&](int64_t e) {
    return feed_forward_layer(layer, e, options);
  };
  // Every layer breaks its own ties.
  const uint64_t seed = options.tie_break_seed * 0x9E3779B97F4A7C15ULL + layer;
  MixtureOutput output =
      mixture(x, part(Part::kRouter, layer), optional(Part::kSharedGate, layer),
              expert, config_, options.dispatch, product_rows(options), seed);
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
  return kernels::embedding(part(Part::kEmbedding), tokens,
                            arithmetic(options));
}

// A tied table that is being trained gets one gradient from both of its uses.
at::Tensor Transformer::embedded(const at::Tensor& tokens,
                                 const ForwardOptions& options,
                                 Gathered* gathered) const {
  const at::Tensor table = part(Part::kEmbedding);
  const bool shared = gathered != nullptr && config_.tie_word_embeddings &&
                      table.is_cpu() && table.requires_grad();
  if (!shared) return embed(tokens, options);
  const kernels::SharedEmbedding both =
      kernels::shared_embedding(table, tokens, arithmetic(options));
  gathered->head = both.table;
  return both.rows;
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
  at::Tensor x = embedded(tokens, options, gathered);
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
  // The loss reads it with a product alone.
  const bool narrow = gathered != nullptr && config_.logit_multiplier == 1;
  return norm(x, Part::kFinalNorm, -1,
              narrow ? product_rows(options) : arithmetic(options));
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
  return norm(x, Part::kFinalNorm, -1, x.scalar_type());
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
  kernels::Matrix head = matrix(head_part(), -1, -1, forward_options);
  if (gathered.head.defined()) head.weight = gathered.head;
  if (!head.rounded) head.weight = widened(head.weight, dtype());
  loss.cross_entropy = kernels::linear_cross_entropy(
      head_input(hidden).reshape({-1, config_.hidden_size}), head,
      targets.reshape({-1}));
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
