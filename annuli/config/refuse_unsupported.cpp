#include <algorithm>
#include <cmath>
#include <vector>

#include "annuli/config/family.h"
#include "annuli/config/json_field.h"
#include "annuli/config/quantization.h"
#include "annuli/core/json.h"

namespace annuli {
namespace {

[[noreturn]] void unsupported(std::string_view what) {
  user_error("reading a model's config.json: {}, which no model here computes",
             what);
}

// What other programs' models may have and ours do not. A key that is absent,
// null or of the value beside it changes nothing.
const std::vector<std::pair<const char*, Json>>& neutral_keys() {
  static const std::vector<std::pair<const char*, Json>> keys = {
      {"partial_rotary_factor", 1},        {"decoder_sparse_step", 1},
      {"mlp_only_layers", Json::array()},  {"clip_qkv", nullptr},
      {"attn_logit_softcapping", nullptr}, {"final_logit_softcapping", nullptr},
  };
  return keys;
}

void check_neutral(const Json& json, const char* key, const Json& neutral) {
  if (!states(json, key) || json[key] == neutral) return;
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

void check_sliding_window(const Family& family, const Json& json,
                          const ModelConfig& config) {
  if (family.sliding_window == SlidingWindow::kNever) return;
  const bool asked = field_or<bool>(json, "use_sliding_window", false);
  if (family.sliding_window == SlidingWindow::kWhenAsked && !asked) return;
  int64_t window = 0;
  if (!json.contains("sliding_window")) {
    window = family.default_sliding_window;
  } else {
    window = field_or<int64_t>(json, "sliding_window", 0);
  }
  if (window != 0 && window < config.max_position_embeddings) {
    unsupported(
        fmt::format("sliding_window is {}, below "
                    "max_position_embeddings {}",
                    window, config.max_position_embeddings));
  }
}

void check_attention_scale(const Family& family, const Json& json,
                           const ModelConfig& config) {
  if (family.attention_scale_key == nullptr) return;
  const auto scale = field_or<double>(json, family.attention_scale_key, 1);
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
  for (const auto& [key, neutral] : neutral_keys()) {
    check_neutral(json, key, neutral);
  }
  for (const auto& [key, neutral] : family.neutral_keys) {
    check_neutral(json, key, neutral);
  }
  check_layers(json, "layer_types", "full_attention");
  check_layers(json, "no_rope_layers", 1);
  check_sliding_window(family, json, config);
  check_attention_scale(family, json, config);
}

}  // namespace annuli
