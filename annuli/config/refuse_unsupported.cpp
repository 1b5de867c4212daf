#include <algorithm>
#include <cmath>
#include <vector>

#include "annuli/config/family.h"
#include "annuli/config/json_field.h"
#include "annuli/config/quantization.h"
#include "annuli/config/sliding_window.h"
#include "annuli/core/json.h"

namespace annuli {
namespace {

[[noreturn]] void unsupported(std::string_view what) {
  user_error("reading a model's config.json: {}, which no model here computes",
             what);
}

// What other programs' models may have and ours do not. A key that is absent,
// of the value beside it, or null where the class takes it, changes nothing.
const std::vector<std::pair<const char*, Json>>& neutral_keys() {
  static const std::vector<std::pair<const char*, Json>> keys = {
      {"decoder_sparse_step", 1},
      {"mlp_only_layers", Json::array()},
      {"clip_qkv", nullptr},
      {"attn_logit_softcapping", nullptr},
      {"final_logit_softcapping", nullptr},
      {"is_causal", true},
      {"per_layer_config", Json::object()},
  };
  return keys;
}

void check_neutral(const Family& family, const Json& json, const char* key,
                   const Json& neutral) {
  if (!states(json, key) && (!json.contains(key) || family.takes_null(key))) {
    return;
  }
  if (json[key] == neutral) return;
  unsupported(fmt::format("'{}' is {}", key, shown(json[key])));
}

// Every entry of a per-layer list must be the one that is computed.
void check_layers(const Json& json, const char* key, const Json& expected) {
  if (!states(json, key)) return;
  const auto same = [&](const Json& entry) { return entry == expected; };
  if (!json[key].is_array() || !std::ranges::all_of(json[key], same)) {
    unsupported(
        fmt::format("'{}' has entries other than {}", key, expected.dump()));
  }
}

void check_attention_scale(const Family& family, const Json& json,
                           const ModelConfig& config) {
  if (family.attention_scale_key == nullptr) return;
  const auto scale = field<double>(json, family.attention_scale_key);
  const double ours = 1 / std::sqrt(static_cast<double>(config.head_dim));
  // Two ways to form the same number differ by an ulp or two.
  if (!(std::abs(scale / ours - 1) < 1e-14)) {
    unsupported(fmt::format("'{}' is {}, not 1/sqrt(head_dim) = {}",
                            family.attention_scale_key, scale, ours));
  }
}

}  // namespace

void refuse_unsupported(const Family& family, const Json& json,
                        const ModelConfig& config) {
  refuse_quantization(json);
  // Beside rope_parameters some classes do not read it.
  check_neutral(family, json, "partial_rotary_factor",
                config.partial_rotary_factor);
  for (const auto& [key, neutral] : neutral_keys()) {
    check_neutral(family, json, key, neutral);
  }
  for (const auto& [key, neutral] : family.neutral_keys) {
    check_neutral(family, json, key, neutral);
  }
  if (!family.has("layer_types")) {
    check_layers(json, "layer_types", "full_attention");
  }
  check_layers(json, "no_rope_layers", 1);
  refuse_sliding_window(family, json, config);
  check_attention_scale(family, json, config);
}

}  // namespace annuli
