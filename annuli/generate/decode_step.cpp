#include "annuli/generate/decode_step.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <array>
#include <utility>

#include "annuli/kernels/gemv.h"
#include "annuli/kernels/rms_norm.h"
#include "annuli/model/rope_frequencies.h"

namespace annuli::decoding {
namespace {

using kernels::Product;

constexpr int64_t kPositions = 64;  // per block of rotary angles

}  // namespace

RotaryPositions::RotaryPositions(at::Tensor frequencies)
    : frequencies_(std::move(frequencies)) {}

void RotaryPositions::rotate(float* x, int64_t heads, int64_t position) {
  while (static_cast<int64_t>(blocks_.size()) * kPositions <= position) {
    blocks_.push_back(
        kernels::rotary_table(static_cast<int64_t>(blocks_.size()) * kPositions,
                              kPositions, frequencies_));
  }
  const kernels::RotaryTable& table = blocks_[position / kPositions];
  const int64_t half = frequencies_.numel();
  const int64_t offset = position % kPositions * half;
  kernels::rotate_row(x, table.cos.const_data_ptr<float>() + offset,
                      table.sin.const_data_ptr<float>() + offset, heads, half,
                      x);
}

DecodeStep::DecodeStep(const Transformer& model)
    : config_(model.config()),
      weights_(weights_of(model)),
      rotary_(rope_frequencies(config_, at::kFloat, at::kCPU)),
      feed_forward_(config_) {}

void DecodeStep::read(std::span<const Row> rows) {
  embed(rows);
  for (int64_t layer = 0; layer < config_.num_hidden_layers; ++layer) {
    attention_block(rows, layer);
    const LayerWeights& weights = weights_.layers[layer];
    feed_forward_.run(weights, layer, block_input(weights.post_norm), y_);
    add_output(weights.feed_forward_out_norm);
  }
  for (const Row& row : rows) row.cache->advance(1);
}

at::Tensor DecodeStep::logits(std::span<const Row> rows) {
  read(rows);
  normalise(x_, weights_.final_norm, normed_);
  if (config_.logit_multiplier != 1) {
    const auto factor = static_cast<float>(config_.logit_multiplier);
    float* hidden = normed_[0];
    for (int64_t i = 0; i < normed_.size(); ++i) hidden[i] *= factor;
  }
  at::Tensor logits =
      at::empty({normed_.count(), config_.vocab_size}, at::kFloat);
  const Product head =
      product(weights_.head, normed_[0], normed_.width(), normed_.count(),
              logits.mutable_data_ptr<float>());
  kernels::multiply({&head, 1});
  return logits;
}

void DecodeStep::embed(std::span<const Row> rows) {
  const auto M = static_cast<int64_t>(rows.size());
  x_.resize(M, config_.hidden_size);
  positions_.resize(M);
  for (int64_t m = 0; m < M; ++m) {
    const bool continues = m > 0 && rows[m].cache == rows[m - 1].cache;
    positions_[m] = continues ? positions_[m - 1] + 1 : rows[m].cache->length();
    const at::Tensor row =
        weights_.embedding.select(0, rows[m].id).to(at::kFloat);
    const float* entries = row.const_data_ptr<float>();
    std::copy(entries, entries + config_.hidden_size, x_[m]);
  }
}

void DecodeStep::normalise(Rows& in, const Gain& gain, Rows& out) const {
  out.resize(in.count(), in.width());
  for (int64_t m = 0; m < in.count(); ++m) {
    kernels::rms_norm_row(in[m], gain.const_data_ptr<float>(), in.width(),
                          config_.rms_norm_eps, out[m]);
  }
}

Rows& DecodeStep::block_input(const Gain& gain) {
  if (!gain.defined()) return x_;
  normalise(x_, gain, normed_);
  return normed_;
}

void DecodeStep::add_output(const Gain& gain) {
  if (gain.defined()) normalise(y_, gain, y_);
  const float* y = y_[0];
  float* x = x_[0];
  for (int64_t i = 0; i < x_.size(); ++i) x[i] += y[i];
}

void DecodeStep::attention_block(std::span<const Row> rows, int64_t layer) {
  const LayerWeights& weights = weights_.layers[layer];
  Rows& input = block_input(weights.input_norm);
  kernels::multiply(std::array{product(weights.q, input, q_),
                               product(weights.k, input, k_),
                               product(weights.v, input, v_)});
  mixed_.resize(input.count(), q_.width());
  reserve(rows, layer);
  queries_.clear();
  for (size_t m = 0; m < rows.size(); ++m) {
    place_heads(rows[m].cache->layer(layer), static_cast<int64_t>(m), weights);
  }
  kernels::cached_attention(queries_, config_.num_attention_heads,
                            config_.num_key_value_heads, config_.head_dim);
  const Product out = product(weights.o, mixed_, y_);
  kernels::multiply({&out, 1});
  add_output(weights.attention_out_norm);
}

void DecodeStep::normalise_heads(float* x, const Gain& gain,
                                 int64_t heads) const {
  if (!gain.defined()) return;
  const bool together = config_.qk_norm == QkNorm::kFull;
  const int64_t width = config_.head_dim * (together ? heads : 1);
  for (int64_t h = 0; h < (together ? 1 : heads); ++h) {
    kernels::rms_norm_row(x + h * width, gain.const_data_ptr<float>(), width,
                          config_.rms_norm_eps, x + h * width);
  }
}

// Room for every row first: a layer's memory may move when it grows.
void DecodeStep::reserve(std::span<const Row> rows, int64_t layer) {
  for (size_t m = 0; m < rows.size(); ++m) {
    const bool last =
        m + 1 == rows.size() || rows[m + 1].cache != rows[m].cache;
    if (!last) continue;
    rows[m].cache->reserve(layer, positions_[m] + 1,
                           {1, config_.num_key_value_heads, config_.head_dim},
                           at::TensorOptions(at::kFloat));
  }
}

// Norms and turns q and k of a row, and puts k and v into the cache.
void DecodeStep::place_heads(const KvCache::Layer& kept, int64_t m,
                             const LayerWeights& weights) {
  const int64_t H = config_.num_attention_heads;
  const int64_t K = config_.num_key_value_heads;
  const int64_t hd = config_.head_dim;
  const int64_t position = positions_[m];
  normalise_heads(q_[m], weights.q_norm, H);
  normalise_heads(k_[m], weights.k_norm, K);
  rotary_.rotate(q_[m], H, position);
  rotary_.rotate(k_[m], K, position);
  const int64_t capacity = kept.keys.size(2);
  auto* keys = static_cast<float*>(kept.keys.data_ptr());
  auto* values = static_cast<float*>(kept.values.data_ptr());
  for (int64_t head = 0; head < K; ++head) {
    const int64_t place = (head * capacity + position) * hd;
    std::copy_n(k_[m] + head * hd, hd, keys + place);
    std::copy_n(v_[m] + head * hd, hd, values + place);
  }
  queries_.push_back({.q = q_[m],
                      .keys = keys,
                      .values = values,
                      .length = position + 1,
                      .capacity = capacity,
                      .out = mixed_[m]});
}

}  // namespace annuli::decoding
