#pragma once

#include <ATen/core/Tensor.h>

#include "annuli/config/model_config.h"
#include "annuli/kernels/attention.h"
#include "annuli/model/transformer.h"

// Causal grouped-query self-attention with rotary positions.
namespace annuli {

struct AttentionWeights {
  at::Tensor q;       // [H * head_dim, D]
  at::Tensor k;       // [K * head_dim, D]
  at::Tensor v;       // [K * head_dim, D]
  at::Tensor o;       // [D, H * head_dim]
  at::Tensor q_norm;  // [head_dim], undefined without qk_norm
  at::Tensor k_norm;  // [head_dim], undefined without qk_norm
};

// x: [B, T, D], normed -> [B, T, D]. `cache`, if given, is read at `layer` and
// extended by these T tokens; `trace`, if given, receives q and k.
at::Tensor attention(const at::Tensor& x, const AttentionWeights& weights,
                     const ModelConfig& config,
                     const kernels::RotaryTable& rotary, KvCache* cache,
                     int64_t layer, LayerTrace* trace);

}  // namespace annuli
