#pragma once

#include <ATen/core/Tensor.h>

#include "annuli/config/model_config.h"
#include "annuli/kernels/attention.h"
#include "annuli/model/projection.h"
#include "annuli/model/transformer.h"

// Causal grouped-query self-attention with rotary positions. q and k may be
// normalised before RoPE, each head by itself or all heads together.
namespace annuli {

struct AttentionWeights {
  kernels::LinearLayer q;  // [H * head_dim, D]
  kernels::LinearLayer k;  // [K * head_dim, D]
  kernels::LinearLayer v;  // [K * head_dim, D]
  kernels::LinearLayer o;  // [D, H * head_dim]
  // [head_dim] each, or [H * head_dim] and [K * head_dim]; undefined without
  // q/k norms.
  at::Tensor q_norm = {};
  at::Tensor k_norm = {};
};

// x: [B, T, D], normed -> [B, T, D]. `cache`, if given, is read at `layer` and
// extended by these T tokens; `trace`, if given, receives q and k.
at::Tensor attention(const at::Tensor& x, const AttentionWeights& weights,
                     const ModelConfig& config,
                     const kernels::RotaryTable& rotary, KvCache* cache,
                     int64_t layer, LayerTrace* trace);

}  // namespace annuli
