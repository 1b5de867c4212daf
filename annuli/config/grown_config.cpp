#include "annuli/config/grown_config.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "annuli/config/family.h"
#include "annuli/config/json_field.h"
#include "annuli/core/json.h"

namespace annuli {
namespace {

// What a child of another family must not inherit: switches that its class
// would read and that its parent's did not mean for it.
constexpr std::array kOfTheClass = {
    "attention_bias",      "mlp_bias",        "use_sliding_window",
    "sliding_window",      "layer_types",     "max_window_layers",
    "decoder_sparse_step", "mlp_only_layers", "auto_map",
};

bool per_layer(const std::string& key, const Json& value, size_t layers) {
  return value.is_array() && value.size() == layers && key != "architectures" &&
         !key.ends_with("_token_id") && !key.ends_with("_token_ids");
}

void rearrange_layers(Json& json, size_t parent_layers,
                      const std::vector<int64_t>& layer_map) {
  for (auto& [key, value] : json.items()) {
    if (!per_layer(key, value, parent_layers)) continue;
    Json grown = Json::array();
    for (const int64_t layer : layer_map) grown.push_back(value.at(layer));
    value = grown;
  }
}

// What the child's class says differently, or the parent's file left to a
// default. Both forms of the rotary positions are always written.
void overlay(Json& json, const Json& parent, const Json& child) {
  for (const auto& [key, value] : child.items()) {
    const bool changed = !parent.contains(key) || parent[key] != value;
    const bool stated = states(json, key.c_str());
    if (changed || !stated || key.starts_with("rope_")) json[key] = value;
  }
}

}  // namespace

Json grown_config_json(const Json& parent_json, const ModelConfig& child,
                       const std::vector<int64_t>& layer_map,
                       const std::string& dtype) {
  const ModelConfig parent = model_config_from_json(parent_json);
  ANNULI_CHECK(
      static_cast<int64_t>(layer_map.size()) == child.num_hidden_layers,
      "{} layers mapped of {}", layer_map.size(), child.num_hidden_layers);
  const Family& old =
      find_family(field<std::string>(parent_json, "model_type"));
  const bool same = expresses(old, child);
  const Family& family = same ? old : family_of(child);
  const Json old_shape = write_shape(old, parent);
  Json json = parent_json;
  if (!same) {
    for (const auto& [key, value] : old_shape.items()) json.erase(key);
    for (const char* key : kOfTheClass) json.erase(key);
  }
  rearrange_layers(json, static_cast<size_t>(parent.num_hidden_layers),
                   layer_map);
  overlay(json, old_shape, write_shape(family, child));
  json.erase("original_max_position_embeddings");  // stands in rope_parameters
  json["dtype"] = dtype;
  json["torch_dtype"] = dtype;
  ModelConfig read = model_config_from_json(json);
  read.logit_multiplier = child.logit_multiplier;  // to a rounding: family.h
  ANNULI_CHECK(read == child, "{} does not state its child", json.dump());
  return json;
}

}  // namespace annuli
