#include "annuli/config/class_defaults.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include "annuli/config/family.h"
#include "annuli/config/json_field.h"
#include "annuli/config/sliding_window.h"

namespace annuli {
namespace {

const Family& family_in(const Json& config) {
  return find_family(field<std::string>(config, "model_type"));
}

constexpr const char* kSizes[] = {
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "moe_intermediate_size",
    "shared_expert_intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "num_experts",
    "num_local_experts",
};

void resolve_window(const Family& family, const Json& json, int64_t layers,
                    Json& all) {
  if (family.has("sliding_window")) {
    const auto window = window_of(family, json);
    // Qwen2-MoE's class says 0 where the others say null.
    const Json none =
        family.sliding_window == SlidingWindow::kEvenLayers ? Json(0) : Json();
    all["sliding_window"] = window ? Json(*window) : none;
  }
  if (family.has("layer_types")) {
    all["layer_types"] = attention_types(family, json, layers);
  }
}

}  // namespace

Json resolved_config(const Json& config) {
  const ModelConfig shape = model_config_from_json(config);
  const Family& family = family_in(config);
  const Json json = with_defaults(family, config);
  Json all = write_shape(family, shape);
  for (const auto& [key, value] : family.attributes.items()) {
    if (!all.contains(key)) all[key] = json.at(key);
  }
  // Of dense layers, where the experts' has a key of its own.
  all["intermediate_size"] = json.at("intermediate_size");
  all.erase("rope_scaling");  // stands in rope_parameters
  resolve_window(family, json, shape.num_hidden_layers, all);
  if (family.has("mlp_only_layers")) all["mlp_only_layers"] = Json::array();
  return all;
}

std::string left_to_the_class(const Json& config) {
  const Family& family = family_in(config);
  std::vector<std::string> sizes;
  for (const char* key : kSizes) {
    const auto found = family.attributes.find(key);
    if (found == family.attributes.end() || found->is_null()) continue;
    const char* alias = family.num_experts_alias;
    const bool counted = key == std::string_view(family.num_experts_key) &&
                         alias != nullptr && config.contains(alias);
    if (config.contains(key) || counted) continue;
    sizes.push_back(fmt::format("{} {}", key, found->dump()));
  }
  if (sizes.empty()) return "";
  return fmt::format("; not stated by config.json, and taken from a {}: {}",
                     family.model_type, fmt::join(sizes, ", "));
}

}  // namespace annuli
