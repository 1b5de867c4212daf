#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "annuli/config/model_config.h"
#include "annuli/core/json.h"

// The config.json of a grown model, from its parent's.
namespace annuli {

// Guarantees: `model_config_from_json` of the result is `child`, in the words
// of transformers 4 and 5 both. The parent's model_type is kept where it can
// express the child (a Mistral stays one); otherwise the child gets the family
// of its shape, and the keys of the old one are dropped. What the growth does
// not touch, unknown keys included, stays as it stands; lists with one entry
// per layer are rearranged: entry i of the child's is entry layer_map[i] of the
// parent's. `dtype` ("bfloat16") is that of the stored weights.
Json grown_config_json(const Json& parent_json, const ModelConfig& child,
                       const std::vector<int64_t>& layer_map,
                       const std::string& dtype);

}  // namespace annuli
