#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "annuli/config/family.h"
#include "annuli/core/json.h"

// Attention that is limited to the last tokens, which nothing here computes:
// who asks for it, and in which layers. `json` has its defaults.
namespace annuli {

// What the class holds as its window; nothing where it is switched off or null.
std::optional<int64_t> window_of(const Family& family, const Json& json);

// "full_attention" or "sliding_attention" for each layer, or what `layer_types`
// states where the class reads that key.
std::vector<std::string> attention_types(const Family& family, const Json& json,
                                         int64_t num_hidden_layers);

// UserError where a layer's window is shorter than max_position_embeddings, and
// for layers that are neither full nor sliding.
void refuse_sliding_window(const Family& family, const Json& json,
                           const ModelConfig& config);

}  // namespace annuli
