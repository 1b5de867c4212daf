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
// dtype: fp32 or fp64; everything is computed in it.
at::Tensor rope_frequencies(const ModelConfig& config, at::ScalarType dtype,
                            at::Device device);

}  // namespace annuli
