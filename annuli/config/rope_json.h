#pragma once

#include "annuli/config/model_config.h"
#include "annuli/core/json.h"

// Rotary positions in config.json, in both forms: `rope_theta` beside
// `rope_scaling` (transformers 4), and one object `rope_parameters` (5).
namespace annuli {

// Fills rope_theta and rope_scaling; max_position_embeddings must be read
// already. As transformers 5 does: `rope_scaling` goes before
// `rope_parameters`, a theta within the object before the one beside it.
// UserError for types that are not computed here.
void read_rope(const Json& json, double default_theta, ModelConfig& config);

// Writes both forms.
void write_rope(const ModelConfig& config, Json& json);

}  // namespace annuli
