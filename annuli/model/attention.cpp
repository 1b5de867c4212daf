#include "annuli/model/attention.h"

#include <tuple>

#include "annuli/kernels/rms_norm.h"
#include "annuli/model/kv_cache.h"
#include "annuli/model/projection.h"

namespace annuli {
namespace {

// rows [B, T, heads * head_dim] as heads [B, T, heads, head_dim], normalised
// before or after they are told apart; an undefined gain is no norm.
at::Tensor heads_of(const at::Tensor& rows, const at::Tensor& gain,
                    const ModelConfig& config) {
  const std::vector<int64_t> apart{rows.size(0), rows.size(1), -1,
                                   config.head_dim};
  if (!gain.defined()) return rows.view(apart);
  const double eps = config.rms_norm_eps;
  if (config.qk_norm == QkNorm::kFull) {
    return kernels::rms_norm(rows, gain, eps).view(apart);
  }
  return kernels::rms_norm(rows.view(apart), gain, eps);
}

// With what a cache or a trace wants: q and k turned.
at::Tensor attention_in_steps(at::Tensor q, at::Tensor k, at::Tensor v,
                              const kernels::RotaryTable& rotary,
                              KvCache* cache, int64_t layer,
                              LayerTrace* trace) {
  q = kernels::apply_rotary(q, rotary);
  k = kernels::apply_rotary(k, rotary);
  if (trace != nullptr) {
    trace->q = q.detach();
    trace->k = k.detach();
  }
  if (cache != nullptr) std::tie(k, v) = cache->append(layer, k, v);
  return kernels::causal_attention(q, k, v);
}

}  // namespace

at::Tensor attention(const at::Tensor& x, const AttentionWeights& weights,
                     const ModelConfig& config,
                     const kernels::RotaryTable& rotary, KvCache* cache,
                     int64_t layer, LayerTrace* trace) {
  const std::vector<at::Tensor> projected =
      project_all(x, {weights.q, weights.k, weights.v});
  const at::Tensor q = heads_of(projected[0], weights.q_norm, config);
  const at::Tensor k = heads_of(projected[1], weights.k_norm, config);
  const at::Tensor v = heads_of(projected[2], {}, config);
  const at::Tensor mixed =
      cache != nullptr || trace != nullptr
          ? attention_in_steps(q, k, v, rotary, cache, layer, trace)
          : kernels::rotary_attention(
                q, k, v, rotary,
                weights.o.matrix.rounded ? at::kBFloat16 : q.scalar_type());
  return project(mixed.reshape({x.size(0), x.size(1), -1}), weights.o.matrix,
                 weights.o.bias);
}

}  // namespace annuli
