#include "annuli/generate/decode_feed_forward.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "annuli/kernels/gemv.h"
#include "annuli/kernels/mixture.h"
#include "annuli/kernels/parallel.h"
#include "annuli/model/feed_forward.h"

namespace annuli::decoding {
namespace {

using kernels::Product;

// The gates of the chosen experts, their softmax probabilities over the sum of
// those; returns the sum.
float gates_of(const float* logits, int64_t E, const int64_t* experts,
               int64_t k, float* gates) {
  const float greatest = *std::max_element(logits, logits + E);
  float all = 0;
  for (int64_t e = 0; e < E; ++e) all += std::exp(logits[e] - greatest);
  float sum = 0;
  for (int64_t i = 0; i < k; ++i) {
    gates[i] = std::exp(logits[experts[i]] - greatest) / all;
    sum += gates[i];
  }
  for (int64_t i = 0; i < k; ++i) gates[i] /= sum;
  return sum;
}

}  // namespace

void DecodeFeedForward::run(const LayerWeights& weights, int64_t layer, Rows& x,
                            Rows& y) {
  y.resize(x.count(), x.width());
  if (!config_.is_mixture()) {
    return apply({{&weights.experts[0], 0, x.count()}}, x, y);
  }
  route(weights, layer, x);
  std::vector<Group> groups = gather(weights, x);
  slot_out_.resize(slot_in_.count(), x.width());
  apply(std::move(groups), slot_in_, slot_out_);
  combine(weights, y);
}

void DecodeFeedForward::route(const LayerWeights& weights, int64_t layer,
                              Rows& x) {
  std::vector<Product> products = {product(*weights.router, x, router_logits_)};
  if (weights.shared_gate) {
    products.push_back(product(*weights.shared_gate, x, shared_gate_));
  }
  kernels::multiply(products);
  const int64_t E = config_.num_experts;
  const int64_t k = config_.num_experts_per_tok;
  experts_.resize(x.count() * k);
  gates_.resize(x.count() * k);
  chosen_.resize(x.count());
  for (int64_t m = 0; m < x.count(); ++m) {
    int64_t* experts = experts_.data() + m * k;
    // Seed and token are Transformer's for a block of one token.
    kernels::choose_experts(router_logits_[m], E, k, layer, 0, experts);
    chosen_[m] =
        gates_of(router_logits_[m], E, experts, k, gates_.data() + m * k);
  }
}

// Copies each row to the slots of its experts, sorted by expert; those of the
// shared expert come last.
std::vector<DecodeFeedForward::Group> DecodeFeedForward::gather(
    const LayerWeights& weights, Rows& x) {
  const int64_t k = config_.num_experts_per_tok;
  const int64_t choices = x.count() * k;
  slots_.resize(choices);
  slot_in_.resize(choices + (weights.shared ? x.count() : 0), x.width());
  std::vector<Group> groups;
  int64_t next = 0;
  const auto take = [&](int64_t m) {
    std::copy_n(x[m], x.width(), slot_in_[next]);
    return next++;
  };
  for (int64_t e = 0; e < config_.num_experts; ++e) {
    const int64_t first = next;
    for (int64_t i = 0; i < choices; ++i) {
      if (experts_[i] == e) slots_[i] = take(i / k);
    }
    if (next > first) {
      groups.push_back({&weights.experts[e], first, next - first});
    }
  }
  if (weights.shared) {
    groups.push_back({&*weights.shared, next, x.count()});
    for (int64_t m = 0; m < x.count(); ++m) take(m);
  }
  return groups;
}

// y = y_1 + sum over i > 1 of g_i (y_i - y_1), as kernels::combine has it; and
// the shared expert beside it.
void DecodeFeedForward::combine(const LayerWeights& weights, Rows& y) {
  const int64_t k = config_.num_experts_per_tok;
  for (int64_t m = 0; m < y.count(); ++m) {
    const float* first = slot_out_[slots_[m * k]];
    float* out = y[m];
    std::copy_n(first, y.width(), out);
    for (int64_t i = 1; i < k; ++i) {
      const float* other = slot_out_[slots_[m * k + i]];
      const float gate = gates_[m * k + i];
      for (int64_t d = 0; d < y.width(); ++d) {
        out[d] += gate * (other[d] - first[d]);
      }
    }
    if (!config_.norm_topk_prob) {
      for (int64_t d = 0; d < y.width(); ++d) out[d] *= chosen_[m];
    }
    if (weights.shared) {
      const float* shared = slot_out_[y.count() * k + m];
      const float gate = 1 / (1 + std::exp(-shared_gate_[m][0]));
      for (int64_t d = 0; d < y.width(); ++d) out[d] += gate * shared[d];
    }
  }
}

void DecodeFeedForward::apply(std::vector<Group> groups, Rows& in, Rows& out) {
  make_room(groups);
  inner_products(groups, in);
  activate(groups);
  std::vector<Product> products;
  for (const Group& group : groups) {
    const Linear& down = group.weights->down;
    products.push_back(product(down, up_.const_data_ptr<float>() + group.inner,
                               down.matrix.columns, group.count,
                               out[group.first]));
  }
  kernels::multiply(products);
}

void DecodeFeedForward::make_room(std::vector<Group>& groups) {
  int64_t size = 0;
  for (Group& group : groups) {
    group.inner = size;
    size += group.count * group.weights->up.matrix.rows;
  }
  if (up_.defined() && up_.numel() >= size) return;
  up_ = at::empty({size}, at::kFloat);
  gate_ = at::empty({config_.gated ? size : 0}, at::kFloat);
}

void DecodeFeedForward::inner_products(const std::vector<Group>& groups,
                                       Rows& in) {
  std::vector<Product> products;
  const auto add = [&](const Linear& linear, const Group& group,
                       at::Tensor& to) {
    products.push_back(product(linear, in[group.first], in.width(), group.count,
                               to.mutable_data_ptr<float>() + group.inner));
  };
  for (const Group& group : groups) {
    add(group.weights->up, group, up_);
    if (group.weights->gate) add(*group.weights->gate, group, gate_);
  }
  kernels::multiply(products);
}

// Row by row, rows in parallel: the last few entries of a tensor may be
// computed in another way than the others, and a row's bits must not depend on
// where it lies.
void DecodeFeedForward::activate(const std::vector<Group>& groups) {
  std::vector<std::pair<int64_t, int64_t>> rows;  // where, how long
  for (const Group& group : groups) {
    const int64_t F = group.weights->up.matrix.rows;
    for (int64_t m = 0; m < group.count; ++m) {
      rows.emplace_back(group.inner + m * F, F);
    }
  }
  const kernels::ActivationKind kind = activation_kind(config_.hidden_act);
  const auto n = static_cast<int64_t>(rows.size());
  kernels::parallel_blocks(n, 1, [&](int64_t i, int64_t) {
    const auto [first, F] = rows[i];
    at::Tensor up = up_.narrow(0, first, F);
    const at::Tensor gate =
        config_.gated ? gate_.narrow(0, first, F) : at::Tensor();
    up.copy_(kernels::activate(kind, up, gate, /*rounded=*/false,
                               /*keep=*/false)
                 .out);
  });
}

}  // namespace annuli::decoding
