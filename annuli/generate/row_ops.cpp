#include "annuli/generate/row_ops.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "annuli/kernels/gemv.h"
#include "annuli/kernels/layer_norm.h"
#include "annuli/kernels/rms_norm.h"
#include "annuli/model/forward.h"
#include "annuli/model/rope_frequencies.h"

namespace annuli::decoding {

using kernels::Product;

namespace {

kernels::RowMatrix rows_of(kernels::RowMatrix matrix, int64_t begin,
                           int64_t count) {
  const auto bytes = static_cast<int64_t>(c10::elementSize(matrix.dtype));
  matrix.data =
      static_cast<const char*>(matrix.data) + begin * matrix.stride * bytes;
  matrix.rows = count;
  return matrix;
}

}  // namespace

RowOps::RowOps(const Transformer& model)
    : config_(model.config()),
      weights_(model),
      rotary_(rope_frequencies(config_, at::kFloat, at::kCPU),
              rope_amplitude(config_), config_.head_dim),
      feed_forward_(config_, weights_) {}

RowOps::Value RowOps::embed(Tokens rows) {
  rows_ = rows;
  const auto M = static_cast<int64_t>(rows.size());
  Value x = pool_.take(M, config_.hidden_size);
  positions_.resize(M);
  for (int64_t m = 0; m < M; ++m) {
    const bool continues = m > 0 && rows[m].cache == rows[m - 1].cache;
    positions_[m] = continues ? positions_[m - 1] + 1 : rows[m].cache->length();
    const at::Tensor row =
        weights_.embedding().select(0, rows[m].id).to(at::kFloat);
    std::copy_n(row.const_data_ptr<float>(), config_.hidden_size, (*x)[m]);
  }
  return x;
}

RowOps::Value RowOps::run_block(const Value& x, int64_t layer) {
  return Forward(config_, *this).block(x, layer);
}

RowOps::Value RowOps::norm(const Value& x, NormParts parts, int64_t layer,
                           Reader /*reader*/) {
  Value y = pool_.take(x->count(), x->width());
  const float* gain = weights_.vector(parts.gain, layer);
  const float* bias =
      parts.bias ? weights_.vector(*parts.bias, layer) : nullptr;
  const double eps = config_.rms_norm_eps;
  for (int64_t m = 0; m < x->count(); ++m) {
    if (bias != nullptr) {
      kernels::layer_norm_row((*x)[m], gain, bias, x->width(), eps, (*y)[m]);
    } else {
      kernels::rms_norm_row((*x)[m], gain, x->width(), eps, (*y)[m]);
    }
  }
  return y;
}

RowOps::Value RowOps::multiplied(const Value& x, const Linear& linear) {
  Value y = pool_.take(x->count(), linear.matrix.rows);
  const Product one = product(linear, (*x)[0], x->width(), x->count(), (*y)[0]);
  kernels::multiply({&one, 1});
  return y;
}

RowOps::Value RowOps::project(const Value& x, LinearParts linear,
                              int64_t layer) {
  return multiplied(x, weights_.linear(linear, layer));
}

RowOps::Value RowOps::score(const Value& x, Part matrix, int64_t layer) {
  return multiplied(x, {.matrix = weights_.matrix(matrix, layer)});
}

std::array<RowOps::Value, 3> RowOps::project_all(
    const Value& x, const std::array<LinearParts, 3>& parts, int64_t layer) {
  std::array<Value, 3> outputs;
  std::array<Product, 3> products;
  for (size_t i = 0; i < parts.size(); ++i) {
    const Linear found = weights_.linear(parts[i], layer);
    outputs[i] = pool_.take(x->count(), found.matrix.rows);
    products[i] =
        product(found, (*x)[0], x->width(), x->count(), (*outputs[i])[0]);
  }
  kernels::multiply(products);
  return outputs;
}

RowOps::Value RowOps::heads(const Value& x) const {
  x->reshape(config_.head_dim);
  return x;
}

std::array<RowOps::Value, 3> RowOps::split_heads(const Value& x) {
  const int64_t hd = config_.head_dim;
  const int64_t heads = x->size() / (3 * hd);  // of all tokens
  std::array<Value, 3> parts;
  for (size_t i = 0; i < parts.size(); ++i) {
    parts[i] = pool_.take(heads, hd);
    const float* from = (*x)[0] + static_cast<int64_t>(i) * hd;
    for (int64_t h = 0; h < heads; ++h) {
      std::copy_n(from + 3 * h * hd, hd, (*parts[i])[h]);
    }
  }
  return parts;
}

RowOps::Value RowOps::attend(const Value& q, const Value& k, const Value& v,
                             int64_t layer) {
  const auto M = static_cast<int64_t>(rows_.size());
  Value mixed = pool_.take(M, q->size() / M);
  reserve(layer);
  queries_.clear();
  for (int64_t m = 0; m < M; ++m) place_heads(m, layer, *q, *k, *v, *mixed);
  kernels::cached_attention(queries_, config_.num_attention_heads,
                            config_.num_key_value_heads, config_.head_dim);
  return mixed;
}

// Room for every row first: a layer's memory may move when it grows.
void RowOps::reserve(int64_t layer) const {
  for (size_t m = 0; m < rows_.size(); ++m) {
    const bool last =
        m + 1 == rows_.size() || rows_[m + 1].cache != rows_[m].cache;
    if (!last) continue;
    rows_[m].cache->reserve(layer, positions_[m] + 1,
                            {1, config_.num_key_value_heads, config_.head_dim},
                            at::TensorOptions(at::kFloat));
  }
}

// Turns q and k of token m, and puts k and v into the cache.
void RowOps::place_heads(int64_t m, int64_t layer, Rows& q, Rows& k,
                         const Rows& v, Rows& mixed) {
  const int64_t H = config_.num_attention_heads;
  const int64_t K = config_.num_key_value_heads;
  const int64_t hd = config_.head_dim;
  const int64_t position = positions_[m];
  rotary_.rotate(q[m * H], H, position);
  rotary_.rotate(k[m * K], K, position);
  const KvCache::Layer& kept = rows_[m].cache->layer(layer);
  const int64_t capacity = kept.keys.size(2);
  auto* keys = static_cast<float*>(kept.keys.data_ptr());
  auto* values = static_cast<float*>(kept.values.data_ptr());
  for (int64_t head = 0; head < K; ++head) {
    const int64_t place = (head * capacity + position) * hd;
    std::copy_n(k[m * K + head], hd, keys + place);
    std::copy_n(v[m * K + head], hd, values + place);
  }
  queries_.push_back({.q = q[m * H],
                      .keys = keys,
                      .values = values,
                      .length = position + 1,
                      .capacity = capacity,
                      .out = mixed[m]});
}

RowOps::Value RowOps::add(const Value& x, const Value& y) const {
  const float* from = (*y)[0];
  float* to = (*x)[0];
  for (int64_t i = 0; i < x->size(); ++i) to[i] += from[i];
  return x;
}

RowOps::Value RowOps::scale(const Value& x, double factor) const {
  const auto narrow = static_cast<float>(factor);
  float* entries = (*x)[0];
  for (int64_t i = 0; i < x->size(); ++i) entries[i] *= narrow;
  return x;
}

RowOps::Value RowOps::feed_forward(const Value& x,
                                   const FeedForwardParts& parts,
                                   int64_t layer) {
  Value y = pool_.take(x->count(), x->width());
  feed_forward_.run({feed_forward_.group(parts, layer, -1, 0, x->count())}, *x,
                    *y);
  return y;
}

RowOps::Routing RowOps::route(const Value& rows, const Value& scores,
                              int64_t layer) {
  routing_.choose(*scores, config_.num_experts_per_tok, layer,
                  weights_.vector(Part::kSelectionBias, layer));
  return &routing_;
}

ExpertOutputs<RowOps::Value> RowOps::experts(const Value& rows, Routing routing,
                                             const FeedForwardParts& parts,
                                             int64_t layer, bool shared) {
  const int64_t M = rows->count();
  const int64_t D = rows->width();
  const int64_t choices = M * config_.num_experts_per_tok;
  Value in = pool_.take(choices + (shared ? M : 0), D);
  Value out = pool_.take(in->count(), D);
  std::vector<DecodeFeedForward::Group> groups =
      feed_forward_.gather(*routing, parts, layer, *rows, *in);
  if (shared) {
    std::copy_n((*rows)[0], rows->size(), (*in)[choices]);
    groups.push_back(
        feed_forward_.group(parts, layer, kSharedExpert, choices, M));
  }
  feed_forward_.run(std::move(groups), *in, *out);
  ExpertOutputs<Value> outputs{.chosen = pool_.take(M, D)};
  feed_forward_.combine(*routing, *out, *outputs.chosen);
  if (shared) {
    outputs.shared = pool_.take(M, D);
    std::copy_n((*out)[choices], M * D, (*outputs.shared)[0]);
  }
  return outputs;
}

RowOps::Value RowOps::weigh(const Value& y, Routing routing) const {
  for (int64_t m = 0; m < y->count(); ++m) {
    float* out = (*y)[m];
    for (int64_t d = 0; d < y->width(); ++d) out[d] *= routing->chosen[m];
  }
  return y;
}

RowOps::Value RowOps::add_gated(const Value& y, const Value& x,
                                const Value& gate) const {
  for (int64_t m = 0; m < y->count(); ++m) {
    const float* from = (*x)[m];
    float* out = (*y)[m];
    const float factor = 1 / (1 + std::exp(-(*gate)[m][0]));
    for (int64_t d = 0; d < y->width(); ++d) out[d] += factor * from[d];
  }
  return y;
}

at::Tensor RowOps::head(const Value& rows, Part part, int64_t begin,
                        int64_t count) {
  const Linear found{.matrix =
                         rows_of(weights_.matrix(part, -1), begin, count)};
  at::Tensor logits = at::empty({rows->count(), count}, at::kFloat);
  const Product one = product(found, (*rows)[0], rows->width(), rows->count(),
                              logits.mutable_data_ptr<float>());
  kernels::multiply({&one, 1});
  return logits;
}

}  // namespace annuli::decoding
