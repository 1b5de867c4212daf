#include "annuli/generate/decode_feed_forward.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "annuli/kernels/activation.h"
#include "annuli/kernels/gemv.h"
#include "annuli/kernels/mixture.h"
#include "annuli/kernels/parallel.h"

namespace annuli::decoding {
namespace {

using kernels::Product;

// Of a softmax over E logits: what an expert's exponential is divided by.
struct Softmax {
  const float* logits;
  float greatest;
  float sum = 0;

  Softmax(const float* all, int64_t E)
      : logits(all), greatest(*std::max_element(all, all + E)) {
    for (int64_t e = 0; e < E; ++e) sum += std::exp(logits[e] - greatest);
  }
  float operator()(int64_t e) const {
    return std::exp(logits[e] - greatest) / sum;
  }
};

// The gates of the chosen experts, their softmax probabilities over the sum of
// those; returns the sum.
float gates_of(const Softmax& probability, const int64_t* experts, int64_t k,
               float* gates) {
  float sum = 0;
  for (int64_t i = 0; i < k; ++i) {
    gates[i] = probability(experts[i]);
    sum += gates[i];
  }
  for (int64_t i = 0; i < k; ++i) gates[i] /= sum;
  return sum;
}

}  // namespace

void RowRouting::choose(const Rows& scores, int64_t experts_per_token,
                        int64_t layer, const float* selection_bias) {
  k = experts_per_token;
  const int64_t E = scores.width();
  experts.resize(scores.count() * k);
  gates.resize(scores.count() * k);
  chosen.resize(scores.count());
  for (int64_t m = 0; m < scores.count(); ++m) {
    const Softmax probability(scores[m], E);
    const float* chosen_by = scores[m];
    if (selection_bias != nullptr) {
      selection.resize(E);
      for (int64_t e = 0; e < E; ++e) {
        selection[e] = probability(e) + selection_bias[e];
      }
      chosen_by = selection.data();
    }
    // Seed and token are Transformer's for a block of one token.
    kernels::choose_experts(chosen_by, E, k, layer, 0, experts.data() + m * k);
    chosen[m] =
        gates_of(probability, experts.data() + m * k, k, gates.data() + m * k);
  }
}

DecodeFeedForward::Group DecodeFeedForward::group(const FeedForwardParts& parts,
                                                  int64_t layer, int64_t expert,
                                                  int64_t first,
                                                  int64_t count) const {
  Group found{.up = weights_.linear(parts.up, layer, expert),
              .down = weights_.linear(parts.down, layer, expert),
              .activation = parts.activation,
              .first = first,
              .count = count};
  if (parts.gate) found.gate = weights_.linear(*parts.gate, layer, expert);
  return found;
}

std::vector<DecodeFeedForward::Group> DecodeFeedForward::gather(
    const RowRouting& routing, const FeedForwardParts& parts, int64_t layer,
    const Rows& x, Rows& slots) {
  const auto choices = static_cast<int64_t>(routing.experts.size());
  slots_.resize(choices);
  std::vector<Group> groups;
  int64_t next = 0;
  for (int64_t e = 0; e < config_.num_experts; ++e) {
    const int64_t first = next;
    for (int64_t i = 0; i < choices; ++i) {
      if (routing.experts[i] != e) continue;
      std::copy_n(x[i / routing.k], x.width(), slots[next]);
      slots_[i] = next++;
    }
    if (next > first) {
      groups.push_back(group(parts, layer, e, first, next - first));
    }
  }
  return groups;
}

// y = y_1 + sum over i > 1 of g_i (y_i - y_1), as kernels::combine has it.
void DecodeFeedForward::combine(const RowRouting& routing, const Rows& slots,
                                Rows& y) const {
  const int64_t k = routing.k;
  for (int64_t m = 0; m < y.count(); ++m) {
    const float* first = slots[slots_[m * k]];
    float* out = y[m];
    std::copy_n(first, y.width(), out);
    for (int64_t i = 1; i < k; ++i) {
      const float* other = slots[slots_[m * k + i]];
      const float gate = routing.gates[m * k + i];
      for (int64_t d = 0; d < y.width(); ++d) {
        out[d] += gate * (other[d] - first[d]);
      }
    }
  }
}

void DecodeFeedForward::run(std::vector<Group> groups, const Rows& in,
                            Rows& out) {
  make_room(groups);
  inner_products(groups, in);
  activate(groups);
  std::vector<Product> products;
  for (const Group& group : groups) {
    products.push_back(
        product(group.down, up_.const_data_ptr<float>() + group.inner,
                group.down.matrix.columns, group.count, out[group.first]));
  }
  kernels::multiply(products);
}

void DecodeFeedForward::make_room(std::vector<Group>& groups) {
  int64_t size = 0;
  for (Group& group : groups) {
    group.inner = size;
    size += group.count * group.up.matrix.rows;
  }
  if (up_.defined() && up_.numel() >= size) return;
  up_ = at::empty({size}, at::kFloat);
  gate_ = at::empty({groups[0].gate ? size : 0}, at::kFloat);
}

void DecodeFeedForward::inner_products(const std::vector<Group>& groups,
                                       const Rows& in) {
  std::vector<Product> products;
  const auto add = [&](const Linear& linear, const Group& group,
                       at::Tensor& to) {
    products.push_back(product(linear, in[group.first], in.width(), group.count,
                               to.mutable_data_ptr<float>() + group.inner));
  };
  for (const Group& group : groups) {
    add(group.up, group, up_);
    if (group.gate) add(*group.gate, group, gate_);
  }
  kernels::multiply(products);
}

// Row by row, rows in parallel: the last few entries of a tensor may be
// computed in another way than the others, and a row's bits must not depend on
// where it lies.
void DecodeFeedForward::activate(const std::vector<Group>& groups) {
  std::vector<std::pair<int64_t, int64_t>> rows;  // where, how long
  for (const Group& group : groups) {
    const int64_t F = group.up.matrix.rows;
    for (int64_t m = 0; m < group.count; ++m) {
      rows.emplace_back(group.inner + m * F, F);
    }
  }
  const Activation kind = groups[0].activation;
  const auto n = static_cast<int64_t>(rows.size());
  kernels::parallel_blocks(n, 1, [&](int64_t i, int64_t) {
    const auto [first, F] = rows[i];
    at::Tensor up = up_.narrow(0, first, F);
    const at::Tensor gate =
        groups[0].gate ? gate_.narrow(0, first, F) : at::Tensor();
    up.copy_(kernels::activate(kind, up, gate, /*rounded=*/false,
                               /*keep=*/false)
                 .out);
  });
}

}  // namespace annuli::decoding
