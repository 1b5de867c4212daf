#include "annuli/model/attention.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/linear.h>

#include "annuli/kernels/rms_norm.h"

namespace annuli {
namespace {

// Appends `fresh` [B, T, K, hd] to what `seen` holds and returns the whole.
at::Tensor extend(std::vector<at::Tensor>& seen, int64_t layer,
                  const at::Tensor& fresh) {
  if (static_cast<int64_t>(seen.size()) <= layer) seen.resize(layer + 1);
  at::Tensor& kept = seen[layer];
  kept = kept.defined() ? at::cat({kept, fresh}, /*dim=*/1) : fresh;
  return kept;
}

}  // namespace

at::Tensor attention(const at::Tensor& x, const AttentionWeights& weights,
                     const ModelConfig& config,
                     const kernels::RotaryTable& rotary, KvCache* cache,
                     int64_t layer, LayerTrace* trace) {
  const int64_t B = x.size(0);
  const int64_t T = x.size(1);
  const auto project = [&](const at::Tensor& weight, int64_t heads) {
    return at::linear(x, weight).view({B, T, heads, config.head_dim});
  };
  at::Tensor q = project(weights.q, config.num_attention_heads);
  at::Tensor k = project(weights.k, config.num_key_value_heads);
  at::Tensor v = project(weights.v, config.num_key_value_heads);
  if (weights.q_norm.defined()) {
    q = kernels::rms_norm(q, weights.q_norm, config.rms_norm_eps);
    k = kernels::rms_norm(k, weights.k_norm, config.rms_norm_eps);
  }
  q = kernels::apply_rotary(q, rotary);
  k = kernels::apply_rotary(k, rotary);
  if (trace != nullptr) {
    trace->q = q.detach();
    trace->k = k.detach();
  }
  if (cache != nullptr) {
    k = extend(cache->keys, layer, k);
    v = extend(cache->values, layer, v);
  }
  const at::Tensor mixed = kernels::causal_attention(q, k, v);
  return at::linear(mixed.reshape({B, T, weights.o.size(1)}), weights.o);
}

}  // namespace annuli
