#include "annuli/config/grown_config.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "annuli/config/family.h"
#include "annuli/config/json_field.h"
#include "annuli/config/sliding_window.h"
#include "annuli/core/json.h"

namespace annuli {
namespace {

// Lists of one entry a layer, by what transformers says of them; any other list
// of that length is so by accident.
constexpr std::array kPerLayer = {"layer_types", "mlp_layer_types",
                                  "no_rope_layers"};

// Where a class slides is its own matter; a child's says that nothing does.
constexpr std::array kOfTheWindow = {"use_sliding_window", "sliding_window",
                                     "max_window_layers", "layer_types"};

void rearrange_layers(Json& json, size_t parent_layers,
                      const std::vector<int64_t>& layer_map) {
  for (const char* key : kPerLayer) {
    if (!states(json, key) || !json[key].is_array()) continue;
    if (json[key].size() != parent_layers) continue;
    Json grown = Json::array();
    for (const int64_t layer : layer_map) grown.push_back(json[key].at(layer));
    json[key] = grown;
  }
}

void turn_window_off(const Family& family, Json& json) {
  json["sliding_window"] = nullptr;
  if (family.has("use_sliding_window")) json["use_sliding_window"] = false;
  if (!states(json, "layer_types")) return;
  for (Json& type : json["layer_types"]) type = "full_attention";
}

// A window that no layer of the parent has: layers that the growth adds may lie
// where the class would slide. One that holds the parent's longest sequence,
// but not the child's, would shut out what the child is to see.
void keep_window_off(const Family& family, const ModelConfig& parent,
                     const ModelConfig& child, Json& json) {
  const auto window = window_of(family, with_defaults(family, json));
  if (!window || *window >= child.max_position_embeddings) return;
  if (*window >= parent.max_position_embeddings) {
    return turn_window_off(family, json);
  }
  if (!states(json, "layer_types")) json["use_sliding_window"] = false;
}

bool is_of_window(std::string_view key) {
  return std::ranges::find(kOfTheWindow, key) != kOfTheWindow.end();
}

// Drops what only one of the two classes knows, and writes out what both know
// and have different defaults for.
void change_class(const Family& from, const Family& to, const Json& shape,
                  Json& json) {
  const Json all = with_defaults(from, json);
  for (const auto& [key, value] : shape.items()) json.erase(key);
  for (const char* key : kOfTheWindow) json.erase(key);
  json.erase("auto_map");
  if (to.num_experts_alias != nullptr) json.erase(to.num_experts_alias);
  for (const auto& [key, value] : from.attributes.items()) {
    if (!to.has(key)) json.erase(key);
  }
  for (const auto& [key, value] : to.attributes.items()) {
    if (!from.has(key)) {
      json.erase(key);
    } else if (!is_of_window(key) && from.attributes.at(key) != value) {
      json[key] = all.at(key);
    }
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
  rearrange_layers(json, static_cast<size_t>(parent.num_hidden_layers),
                   layer_map);
  if (same) {
    keep_window_off(family, parent, child, json);
  } else {
    change_class(old, family, old_shape, json);
  }
  overlay(json, old_shape, write_shape(family, child));
  if (const char* alias = family.num_experts_alias;
      alias != nullptr && json.contains(alias)) {
    json[alias] = child.num_experts;
  }
  json.erase("original_max_position_embeddings");  // stands in rope_parameters
  json["dtype"] = dtype;
  json["torch_dtype"] = dtype;
  ModelConfig read = model_config_from_json(json);
  read.logit_multiplier = child.logit_multiplier;  // to a rounding: family.h
  ANNULI_CHECK(read == child, "{} does not state its child", json.dump());
  return json;
}

}  // namespace annuli
