#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <optional>

#include "annuli/config/model_config.h"
#include "annuli/model/tensor_table.h"

// What the forward pass (forward.h) asks of a set of operations.
//
// A value is cheap to copy: it refers to what it stands for. `add`, `scale`,
// `weigh` and `add_gated` may write what they give over their first value, and
// `heads` may give it another shape: nobody reads it afterwards.
namespace annuli {

// A linear layer of the table: its matrix, and its bias, which is added where
// the table has one.
struct LinearParts {
  Part matrix;
  Part bias;
};

// A norm of the table: RMSNorm by a gain, LayerNorm where there is a bias too.
struct NormParts {
  Part gain;
  std::optional<Part> bias = std::nullopt;
};

// Of the residual stream.
inline NormParts norm_parts(const ModelConfig& config, Part gain, Part bias) {
  NormParts parts{gain};
  if (config.norm_type == NormType::kLayer) parts.bias = bias;
  return parts;
}

// down(act(up x)), or down(act(gate x) * up x) where there is a gate.
struct FeedForwardParts {
  LinearParts up = {Part::kUp, Part::kUpBias};
  LinearParts down = {Part::kDown, Part::kDownBias};
  std::optional<LinearParts> gate;
  Activation activation;
};

inline FeedForwardParts feed_forward_parts(const ModelConfig& config) {
  FeedForwardParts parts{.activation = config.hidden_act};
  if (config.gated) parts.gate = LinearParts{Part::kGate, Part::kGateBias};
  return parts;
}

// The table of a tied head is the embedding's.
inline Part head_part(const ModelConfig& config) {
  return config.tie_word_embeddings ? Part::kEmbedding : Part::kHead;
}

// Who reads a value. What matrix products alone read need not be wider than
// they take it.
enum class Reader { kProducts, kAnything };

// The experts that a router chose, combined, and the shared one's output.
template <typename Value>
struct ExpertOutputs {
  Value chosen;  // [N, D]
  Value shared;  // [N, D], only where it was asked for
};

// What a set of operations has. `tokens` are what it embeds; `layer` says whose
// weights, cache or trace are meant, -1 outside the layers.
template <typename Ops>
concept ForwardOps = requires(Ops ops, const typename Ops::Tokens& tokens,
                              const typename Ops::Value& x,
                              const typename Ops::Routing& routing,
                              LinearParts linear, NormParts norm,
                              FeedForwardParts parts, int64_t layer) {
  { ops.embed(tokens) } -> std::same_as<typename Ops::Value>;  // [B, T, D]
  // Forward::block of these operations, now or also again in the backward
  // pass.
  { ops.run_block(x, layer) } -> std::same_as<typename Ops::Value>;
  // The norm of the last dimension.
  {
    ops.norm(x, norm, layer, Reader::kAnything)
    } -> std::same_as<typename Ops::Value>;
  { ops.project(x, linear, layer) } -> std::same_as<typename Ops::Value>;
  // The same without a bias, and never rounded: what decides.
  { ops.score(x, Part::kRouter, layer) } -> std::same_as<typename Ops::Value>;
  // Layers that read the same x.
  {
    ops.project_all(x, std::array{linear, linear, linear}, layer)
    } -> std::same_as<std::array<typename Ops::Value, 3>>;
  // [B, T, heads * head_dim] as [B, T, heads, head_dim].
  { ops.heads(x) } -> std::same_as<typename Ops::Value>;
  // [B, T, heads * 3 * head_dim], of each head its q, k and v, as three of
  // these.
  { ops.split_heads(x) } -> std::same_as<std::array<typename Ops::Value, 3>>;
  // Positions, cache, causal attention of heads: [B, T, H * head_dim].
  { ops.attend(x, x, x, layer) } -> std::same_as<typename Ops::Value>;
  { ops.add(x, x) } -> std::same_as<typename Ops::Value>;
  { ops.scale(x, 2.0) } -> std::same_as<typename Ops::Value>;
  { ops.feed_forward(x, parts, layer) } -> std::same_as<typename Ops::Value>;
  // [B, T, D] as tokens [N, D], and back into the shape of x.
  { ops.flat(x) } -> std::same_as<typename Ops::Value>;
  { ops.shaped_as(x, x) } -> std::same_as<typename Ops::Value>;
  // Of tokens x with the router's scores [N, E].
  { ops.route(x, x, layer) } -> std::same_as<typename Ops::Routing>;
  {
    ops.experts(x, routing, parts, layer, /*shared=*/true)
    } -> std::same_as<ExpertOutputs<typename Ops::Value>>;
  // Each row times the sum of its chosen experts' probabilities.
  { ops.weigh(x, routing) } -> std::same_as<typename Ops::Value>;
  // y + sigmoid(gate) * x, gate [N, 1].
  { ops.add_gated(x, x, x) } -> std::same_as<typename Ops::Value>;
};

}  // namespace annuli
