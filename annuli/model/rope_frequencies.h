#pragma once

#include <ATen/core/Tensor.h>

#include "annuli/config/model_config.h"

namespace annuli {

// The rotary frequencies of a model, [rotary_dim / 2], stretched as its
// rope_scaling says and by transformers' own formulas:
//   linear   f / factor
//   llama3   f where the wavelength 2 pi / f is below
//            original_max_position_embeddings / high_freq_factor, f / factor
//            above original / low_freq_factor, a blend of the two between.
//   yarn     (2309.00071) f where f turns more than beta_fast times within
//            original_max_position_embeddings, f / factor where fewer than
//            beta_slow times, a line over the index of f between; with
//            `truncate` the line's ends are whole indices.
// dtype: fp32 or fp64; everything is computed in it.
at::Tensor rope_frequencies(const ModelConfig& config, at::ScalarType dtype,
                            at::Device device);

// What cosines and sines are multiplied with: yarn's attention_factor, or 1.
double rope_amplitude(const ModelConfig& config);

}  // namespace annuli
