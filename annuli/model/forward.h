#pragma once

#include <array>
#include <cstdint>

#include "annuli/config/model_config.h"
#include "annuli/model/forward_ops.h"

// The forward pass of every model, stated once: embedding, blocks, final norm,
// head, loss. What a model has of norms, biases, gates, experts and multipliers
// is decided here, from its config, and nowhere else.
//
// It is written over operations whose values are tensors with a graph
// (tensor_ops.h: training, proofs, evaluation), rows of plain memory
// (generate/row_ops.h: decoding), or sizes (budget/size_ops.h: what a step
// keeps and computes). Operations know how a thing is computed and where a
// weight lies; this file knows what follows what.
//
// Letters as in transformer.h.
namespace annuli {

template <ForwardOps Ops>
class Forward {
 public:
  using Value = typename Ops::Value;

  // Both are borrowed.
  Forward(const ModelConfig& config, Ops& ops) : config_(config), ops_(ops) {}

  // The residual stream after the last block.
  Value stream(const typename Ops::Tokens& tokens) {
    Value x = ops_.embed(tokens);
    for (int64_t layer = 0; layer < config_.num_hidden_layers; ++layer) {
      x = ops_.run_block(x, layer);
    }
    return x;
  }

  // x + attention, then + feed-forward of that; or both of the same x.
  Value block(const Value& x, int64_t layer) {
    if (config_.parallel_residual) {
      const Value beside = attention_branch(x, layer);
      return ops_.add(ops_.add(x, feed_forward_branch(x, layer)), beside);
    }
    const Value attended = ops_.add(x, attention_branch(x, layer));
    return ops_.add(attended, feed_forward_branch(attended, layer));
  }

  Value final_norm(const Value& x, Reader reader = Reader::kAnything) {
    return ops_.norm(
        x, norm_parts(config_, Part::kFinalNorm, Part::kFinalNormBias), -1,
        reader);
  }

  // Rows begin .. begin + count - 1 of the head, of the normed stream.
  auto head(const Value& hidden, int64_t begin, int64_t count) {
    return ops_.head(head_input(hidden), head_part(config_), begin, count);
  }

  // Of the tokens' successors; never holds all logits.
  auto loss(const typename Ops::Tokens& tokens,
            const typename Ops::Tokens& targets) {
    const Value hidden = final_norm(
        stream(tokens), is_scaled() ? Reader::kAnything : Reader::kProducts);
    return ops_.cross_entropy(head_input(hidden), head_part(config_), targets);
  }

 private:
  bool pre_norm() const {
    return config_.norm_placement == NormPlacement::kPre;
  }
  bool is_scaled() const { return config_.logit_multiplier != 1; }

  // f(norm(x)), or norm(f(x)).
  Value attention_branch(const Value& x, int64_t layer) {
    if (pre_norm()) {
      const NormParts parts =
          norm_parts(config_, Part::kInputNorm, Part::kInputNormBias);
      return attention(ops_.norm(x, parts, layer, Reader::kProducts), layer);
    }
    return ops_.norm(attention(x, layer), NormParts{Part::kAttentionOutNorm},
                     layer, Reader::kAnything);
  }

  // A router reads its rows in full.
  Value feed_forward_branch(const Value& x, int64_t layer) {
    if (pre_norm()) {
      const Reader reader =
          config_.is_mixture() ? Reader::kAnything : Reader::kProducts;
      const NormParts parts =
          norm_parts(config_, Part::kPostNorm, Part::kPostNormBias);
      return feed_forward(ops_.norm(x, parts, layer, reader), layer);
    }
    return ops_.norm(feed_forward(x, layer),
                     NormParts{Part::kFeedForwardOutNorm}, layer,
                     Reader::kAnything);
  }

  Value attention(const Value& x, int64_t layer) {
    const auto [q, k, v] = heads(x, layer);
    const Value mixed = ops_.attend(q, k, v, layer);
    return ops_.project(mixed, {Part::kO, Part::kOBias}, layer);
  }

  // q, k and v of each head.
  std::array<Value, 3> heads(const Value& x, int64_t layer) {
    if (config_.fused_qkv) {
      return ops_.split_heads(
          ops_.project(x, {Part::kQkv, Part::kQkvBias}, layer));
    }
    const std::array<Value, 3> rows =
        ops_.project_all(x,
                         std::array{LinearParts{Part::kQ, Part::kQBias},
                                    LinearParts{Part::kK, Part::kKBias},
                                    LinearParts{Part::kV, Part::kVBias}},
                         layer);
    const Value q = normed_heads(rows[0], {Part::kQNorm}, layer);
    const Value k = normed_heads(rows[1], {Part::kKNorm}, layer);
    return {q, k, ops_.heads(rows[2])};
  }

  // q or k may be normalised, all heads together or each by itself.
  Value normed_heads(const Value& rows, NormParts norm, int64_t layer) {
    switch (config_.qk_norm) {
      case QkNorm::kNone:
        return ops_.heads(rows);
      case QkNorm::kFull:
        return ops_.heads(ops_.norm(rows, norm, layer, Reader::kAnything));
      case QkNorm::kHead:
        break;
    }
    return ops_.norm(ops_.heads(rows), norm, layer, Reader::kAnything);
  }

  Value feed_forward(const Value& x, int64_t layer) {
    if (config_.is_mixture()) return mixture(x, layer);
    return ops_.feed_forward(x, feed_forward_parts(config_), layer);
  }

  // The chosen experts, combined; and the shared one, times sigmoid(gate x).
  Value mixture(const Value& x, int64_t layer) {
    const Value rows = ops_.flat(x);
    const Value scores = ops_.score(rows, Part::kRouter, layer);
    const auto routing = ops_.route(rows, scores, layer);
    const bool shared = config_.has_shared_expert();
    const ExpertOutputs<Value> outputs =
        ops_.experts(rows, routing, feed_forward_parts(config_), layer, shared);
    Value y = outputs.chosen;
    if (!config_.norm_topk_prob) y = ops_.weigh(y, routing);
    if (shared) {
      const Value gate = ops_.score(rows, Part::kSharedGate, layer);
      y = ops_.add_gated(y, outputs.shared, gate);
    }
    return ops_.shaped_as(y, x);
  }

  // The multiplier of the logits is applied to what the head reads: the logits
  // need not exist for it.
  Value head_input(const Value& hidden) {
    return is_scaled() ? ops_.scale(hidden, config_.logit_multiplier) : hidden;
  }

  const ModelConfig& config_;
  Ops& ops_;
};

}  // namespace annuli
