#include "annuli/model/tensor_ops.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/unbind.h>

#include <tuple>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/kernels/embedding.h"
#include "annuli/kernels/layer_norm.h"
#include "annuli/kernels/linear_cross_entropy.h"
#include "annuli/kernels/optim/squared_norm.h"
#include "annuli/kernels/rms_norm.h"
#include "annuli/model/backward_work.h"
#include "annuli/model/checkpointing.h"
#include "annuli/model/feed_forward.h"
#include "annuli/model/forward.h"
#include "annuli/model/kv_cache.h"
#include "annuli/model/lent_weights.h"
#include "annuli/model/projection.h"
#include "annuli/model/rope_frequencies.h"

namespace annuli {

at::ScalarType TensorOps::arithmetic() const {
  return options_.double_arithmetic ? at::kDouble : model_.dtype();
}

bool TensorOps::rounds() const {
  return options_.as_trained && model_.numbers().products == at::kBFloat16;
}

at::ScalarType TensorOps::product_rows() const {
  return rounds() ? at::kBFloat16 : arithmetic();
}

LayerTrace* TensorOps::trace(int64_t layer) const {
  return options_.trace == nullptr ? nullptr : &options_.trace->layers[layer];
}

at::Tensor TensorOps::stored(Part part, int64_t layer, int64_t expert) const {
  const at::Tensor found = optional(part, layer, expert);
  ANNULI_CHECK(found.defined(), "the model has no {}", to_string(part));
  return found;
}

at::Tensor TensorOps::optional(Part part, int64_t layer, int64_t expert) const {
  const int64_t row = model_.index().row(part, layer, expert);
  if (row < 0) return {};
  ANNULI_CHECK(model_.weight(row).defined(), "{} is not initialised",
               model_.table()[row].name);
  return model_.weight(row);
}

kernels::LinearLayer TensorOps::layer_of(LinearParts linear, int64_t layer,
                                         int64_t expert) const {
  return {{stored(linear.matrix, layer, expert), rounds()},
          optional(linear.bias, layer, expert)};
}

kernels::FeedForward TensorOps::layer_of(const FeedForwardParts& parts,
                                         int64_t layer, int64_t expert) const {
  return {.up = layer_of(parts.up, layer, expert),
          .down = layer_of(parts.down, layer, expert),
          .gate = parts.gate ? layer_of(*parts.gate, layer, expert)
                             : kernels::LinearLayer(),
          .kind = parts.activation};
}

void TensorOps::set_positions(int64_t first, int64_t T) {
  rotary_ = kernels::rotary_table(
      first, T, rope_frequencies(config(), arithmetic(), model_.device()),
      rope_amplitude(config()));
}

// A tied table that is being trained gets one gradient from both of its uses.
at::Tensor TensorOps::embed(const at::Tensor& tokens) {
  ANNULI_CHECK(tokens.dim() == 2, "tokens are [B, T]");
  in_stream_ = true;
  if (model_.lent() != nullptr) model_.lent()->begin_pass(model_);
  const at::Tensor table = stored(Part::kEmbedding, -1, -1);
  const bool shared = gathered_ != nullptr && config().tie_word_embeddings &&
                      table.requires_grad();
  if (!shared) {
    const at::Tensor x = kernels::embedding(table, tokens, arithmetic());
    // What blocks do on the way back hangs on their inputs' gradients.
    const bool is_graph = model_.records() && at::GradMode::is_enabled();
    if (is_graph && !x.requires_grad()) x.set_requires_grad(true);
    begin_trace(x);
    return x;
  }
  const kernels::SharedEmbedding both =
      kernels::shared_embedding(table, tokens, arithmetic());
  gathered_->head = both.table;
  return both.rows;
}

void TensorOps::begin_trace(const at::Tensor& embedding) const {
  if (options_.trace == nullptr) return;
  options_.trace->embedding = embedding.detach();
  options_.trace->layers.assign(config().num_hidden_layers, {});
}

at::Tensor TensorOps::run_block(const at::Tensor& x, int64_t layer) {
  const at::Tensor y = options_.gradient_checkpointing
                           ? repeatable_block(x, layer)
                           : kept_block(x, layer);
  if (gathered_ != nullptr && gathered_->wants_stream_squares) {
    gathered_->stream_squares.push_back(kernels::squared_norm(y.detach()) /
                                        static_cast<double>(y.numel()));
  }
  if (trace(layer) != nullptr) trace(layer)->residual = y.detach();
  return y;
}

// The block, with its weights here for as long as they are read. A block that
// is repeated is followed by its backward pass at once. Where all blocks
// follow, the weights of the next come meanwhile.
at::Tensor TensorOps::kept_block(const at::Tensor& x, int64_t layer) {
  Forward pass(config(), *this);
  const LentWeights* const lent = model_.lent();
  if (lent == nullptr) return pass.block(x, layer);
  const Transformer* const model = &model_;
  const bool recorded = at::GradMode::is_enabled() && x.requires_grad();
  const bool repeats = recorded && options_.gradient_checkpointing;
  constexpr int64_t kNone = -1;
  const int64_t below = in_stream_ ? layer - 1 : kNone;
  const int64_t above = in_stream_ ? layer + 1 : kNone;
  lent->fetch(*model, layer, repeats ? below : above);
  const at::Tensor y = pass.block(
      with_backward_work(x, [=] { lent->drop(*model, layer); }), layer);
  if (repeats) return y;
  if (above == config().num_hidden_layers && (recorded || goes_back_)) {
    lent->keep(layer);
  } else {
    lent->drop(*model, layer);
  }
  return with_backward_work(y, [=] { lent->fetch(*model, layer, below); });
}

// What the loss reads of a mixture leaves the block beside y, as further
// outputs: gradients flow into the router's logits and probabilities.
at::Tensor TensorOps::repeatable_block(const at::Tensor& x, int64_t layer) {
  const bool mixture = config().is_mixture();
  goes_back_ = at::GradMode::is_enabled() && x.requires_grad();
  const auto run = [ops = *this, layer, mixture](
                       const at::Tensor& input) -> std::vector<at::Tensor> {
    Gathered own;
    TensorOps again = ops;
    again.gathered_ = &own;
    const at::Tensor y = again.kept_block(input, layer);
    if (!mixture) return {y};
    return {y, own.router_logits[0], own.routings[0].probabilities,
            own.routings[0].experts, own.router_mean[0]};
  };
  const std::vector<at::Tensor> outputs = checkpointed(x, run);
  if (mixture && gathered_ != nullptr) {
    gathered_->router_logits.push_back(outputs[1]);
    gathered_->routings.push_back(
        {.probabilities = outputs[2], .experts = outputs[3]});
    gathered_->router_mean.push_back(outputs[4].detach());
  }
  return outputs[0];
}

// A trace shows what was read in full.
at::Tensor TensorOps::norm(const at::Tensor& x, NormParts parts, int64_t layer,
                           Reader reader) const {
  const bool narrow = reader == Reader::kProducts && options_.trace == nullptr;
  const at::ScalarType type = narrow ? product_rows() : x.scalar_type();
  const at::Tensor gain = stored(parts.gain, layer, -1);
  const double eps = config().rms_norm_eps;
  if (!parts.bias) return kernels::rms_norm(x, gain, eps, type);
  return kernels::layer_norm(x, gain, stored(*parts.bias, layer, -1), eps,
                             type);
}

at::Tensor TensorOps::project(const at::Tensor& x, LinearParts linear,
                              int64_t layer) const {
  const kernels::LinearLayer found = layer_of(linear, layer);
  return annuli::project(x, found.matrix, found.bias);
}

std::array<at::Tensor, 3> TensorOps::project_all(
    const at::Tensor& x, const std::array<LinearParts, 3>& parts,
    int64_t layer) const {
  std::vector<at::Tensor> y = annuli::project_all(
      x, {layer_of(parts[0], layer), layer_of(parts[1], layer),
          layer_of(parts[2], layer)});
  return {std::move(y[0]), std::move(y[1]), std::move(y[2])};
}

at::Tensor TensorOps::score(const at::Tensor& x, Part matrix,
                            int64_t layer) const {
  return annuli::project(x, stored(matrix, layer, -1));
}

at::Tensor TensorOps::heads(const at::Tensor& x) const {
  return x.view({x.size(0), x.size(1), -1, config().head_dim});
}

std::array<at::Tensor, 3> TensorOps::split_heads(const at::Tensor& x) const {
  const std::vector<at::Tensor> parts = at::unbind(
      x.view({x.size(0), x.size(1), -1, 3, config().head_dim}), /*dim=*/3);
  return {parts[0], parts[1], parts[2]};
}

at::Tensor TensorOps::attend(const at::Tensor& q, const at::Tensor& k,
                             const at::Tensor& v, int64_t layer) const {
  const bool in_steps = options_.cache != nullptr || options_.trace != nullptr;
  ANNULI_CHECK(!in_steps || !options_.documents.defined(),
               "documents beside a cache or a trace");
  const at::Tensor mixed =
      in_steps
          ? attend_in_steps(q, k, v, layer)
          : kernels::rotary_attention(
                q, k, v, rotary_, rounds() ? at::kBFloat16 : q.scalar_type(),
                options_.documents);
  return mixed.reshape({q.size(0), q.size(1), -1});
}

// With what a cache or a trace wants: q and k turned.
at::Tensor TensorOps::attend_in_steps(at::Tensor q, at::Tensor k, at::Tensor v,
                                      int64_t layer) const {
  q = kernels::apply_rotary(q, rotary_);
  k = kernels::apply_rotary(k, rotary_);
  if (LayerTrace* seen = trace(layer)) {
    seen->q = q.detach();
    seen->k = k.detach();
  }
  KvCache* cache = options_.cache;
  if (cache != nullptr) std::tie(k, v) = cache->append(layer, k, v);
  return kernels::causal_attention(q, k, v);
}

at::Tensor TensorOps::add(const at::Tensor& x, const at::Tensor& y) const {
  return x + y;
}

at::Tensor TensorOps::scale(const at::Tensor& x, double factor) const {
  return x * factor;
}

at::Tensor TensorOps::feed_forward(const at::Tensor& x,
                                   const FeedForwardParts& parts,
                                   int64_t layer) const {
  if (LayerTrace* seen = trace(layer)) seen->ffn_input = flat(x.detach());
  return annuli::feed_forward(x, layer_of(parts, layer, -1));
}

at::Tensor TensorOps::flat(const at::Tensor& x) const {
  return x.reshape({-1, x.size(-1)});
}

at::Tensor TensorOps::shaped_as(const at::Tensor& y,
                                const at::Tensor& x) const {
  return y.view(x.sizes());
}

kernels::Routing TensorOps::route(const at::Tensor& rows,
                                  const at::Tensor& scores,
                                  int64_t layer) const {
  // Every layer breaks its own ties.
  const uint64_t seed = options_.tie_break_seed * 0x9E3779B97F4A7C15ULL + layer;
  const at::Tensor bias = optional(Part::kSelectionBias, layer, -1);
  kernels::Routing routing =
      kernels::route(scores, config().num_experts_per_tok, seed, bias);
  if (LayerTrace* seen = trace(layer)) {
    seen->ffn_input = rows.detach();
    seen->router_logits = scores.detach();
    if (bias.defined()) {
      seen->selection = kernels::selection_scores(routing.probabilities, bias);
    }
    seen->experts = routing.experts;
  }
  if (gathered_ != nullptr) {
    gathered_->router_logits.push_back(scores);
    gathered_->routings.push_back(routing);
    gathered_->router_mean.push_back(rows.detach().mean(0));
  }
  return routing;
}

// Sorted experts may get their rows rounded.
ExpertOutputs<at::Tensor> TensorOps::experts(const at::Tensor& rows,
                                             const kernels::Routing& routing,
                                             const FeedForwardParts& parts,
                                             int64_t layer, bool shared) const {
  const auto expert = [&](int64_t e, const at::Tensor& input) {
    return annuli::feed_forward(input, layer_of(parts, layer, e));
  };
  const int64_t E = config().num_experts;
  ExpertOutputs<at::Tensor> outputs;
  outputs.chosen =
      options_.dispatch == Dispatch::kSorted
          ? kernels::dispatch_sorted(rows, routing, E, expert, product_rows())
          : kernels::dispatch_full_block(rows, routing, E, expert);
  if (shared) outputs.shared = expert(kSharedExpert, rows);
  return outputs;
}

at::Tensor TensorOps::weigh(const at::Tensor& y,
                            const kernels::Routing& routing) const {
  return y * routing.chosen_probability;
}

at::Tensor TensorOps::add_gated(const at::Tensor& y, const at::Tensor& x,
                                const at::Tensor& gate) const {
  return y + at::sigmoid(gate) * x;
}

at::Tensor TensorOps::head(const at::Tensor& rows, Part part, int64_t begin,
                           int64_t count) const {
  return annuli::project(rows, stored(part, -1, -1).narrow(0, begin, count));
}

at::Tensor TensorOps::cross_entropy(const at::Tensor& rows, Part part,
                                    const at::Tensor& targets) const {
  kernels::Matrix matrix{stored(part, -1, -1), rounds()};
  if (gathered_ != nullptr && gathered_->head.defined()) {
    matrix.weight = gathered_->head;
  }
  if (!matrix.rounded) matrix.weight = widened(matrix.weight, arithmetic());
  return kernels::linear_cross_entropy(flat(rows), matrix,
                                       targets.reshape({-1}));
}

}  // namespace annuli
