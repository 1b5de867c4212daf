#include "annuli/model/attention.h"

#include <tuple>

#include "annuli/kernels/rms_norm.h"
#include "annuli/model/kv_cache.h"

namespace annuli {
namespace {

// An undefined gain is no norm.
at::Tensor normalised(const at::Tensor& x, const at::Tensor& gain, double eps) {
  return gain.defined()
             ? kernels::rms_norm(x, widened(gain, x.scalar_type()), eps)
             : x;
}

}  // namespace

at::Tensor attention(const at::Tensor& x, const AttentionWeights& weights,
                     const ModelConfig& config,
                     const kernels::RotaryTable& rotary, KvCache* cache,
                     int64_t layer, LayerTrace* trace) {
  const int64_t B = x.size(0);
  const int64_t T = x.size(1);
  const auto heads_of = [&](const Matrix& weight, const at::Tensor& bias,
                            const at::Tensor& gain, int64_t heads) {
    const at::Tensor all = project(x, weight, bias);
    const bool together = config.qk_norm == QkNorm::kFull;
    const at::Tensor rows =
        together ? normalised(all, gain, config.rms_norm_eps) : all;
    const at::Tensor apart = rows.view({B, T, heads, config.head_dim});
    return together ? apart : normalised(apart, gain, config.rms_norm_eps);
  };
  const int64_t H = config.num_attention_heads;
  const int64_t K = config.num_key_value_heads;
  at::Tensor q = heads_of(weights.q, weights.q_bias, weights.q_norm, H);
  at::Tensor k = heads_of(weights.k, weights.k_bias, weights.k_norm, K);
  at::Tensor v = heads_of(weights.v, weights.v_bias, /*gain=*/{}, K);
  q = kernels::apply_rotary(q, rotary);
  k = kernels::apply_rotary(k, rotary);
  if (trace != nullptr) {
    trace->q = q.detach();
    trace->k = k.detach();
  }
  if (cache != nullptr) std::tie(k, v) = cache->append(layer, k, v);
  const at::Tensor mixed = kernels::causal_attention(q, k, v);
  return project(mixed.reshape({B, T, weights.o.weight.size(1)}), weights.o,
                 weights.o_bias);
}

}  // namespace annuli
