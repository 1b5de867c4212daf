#pragma once

#include "annuli/config/family.h"
#include "annuli/config/model_config.h"
#include "annuli/core/json.h"

// Rotary positions in config.json, in both forms: the base beside
// `rope_scaling` (transformers 4), and one object `rope_parameters` (5). The
// share of a head that is turned stands in the object, or beside it under the
// family's key.
namespace annuli {

// Fills rope_theta, partial_rotary_factor and rope_scaling;
// max_position_embeddings must be read already. As transformers 5 does:
// `rope_scaling` goes before `rope_parameters`, what the object says before
// what stands beside it. UserError for what is not computed here.
void read_rope(const Family& family, const Json& json, ModelConfig& config);

// The object of either form, without the base.
Json scaling_json(const RopeScaling& scaling);

// Writes both forms.
void write_rope(const Family& family, const ModelConfig& config, Json& json);

}  // namespace annuli
