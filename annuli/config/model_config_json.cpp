#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "annuli/config/class_defaults.h"
#include "annuli/config/family.h"
#include "annuli/config/field.h"
#include "annuli/config/json_field.h"
#include "annuli/config/rope_json.h"
#include "annuli/core/json.h"

namespace annuli {
namespace {

// The key of a switch of several values.
template <typename T>
constexpr const char* kKey = nullptr;
template <>
constexpr const char* kKey<Activation> = "hidden_act";
template <>
constexpr const char* kKey<QkNorm> = "qk_norm";
template <>
constexpr const char* kKey<NormPlacement> = "norm_placement";
template <>
constexpr const char* kKey<NormType> = "norm_type";

// Other words of transformers for an activation that is computed here, and only
// such as are the same function.
std::string_view same_word(std::string_view name) {
  if (name == "swish") return "silu";
  if (name == "gelu_python") return "gelu";
  return name;
}

template <typename T>
T read_word(const Json& json) {
  const auto name = field<std::string>(json, kKey<T>);
  const auto value = value_of<T>(same_word(name));
  if (!value) {
    user_error("reading a model's config.json: found {} {}, expected {}",
               kKey<T>, quote(name), fmt::join(EnumWords<T>::kWords, ", "));
  }
  return *value;
}

template <typename T>
T read_switch(const Json& json, const Switch<T>& which) {
  if (which.key == nullptr) return which.value;
  if constexpr (std::is_enum_v<T>) {
    return read_word<T>(json);
  } else {
    return field<T>(json, which.key);
  }
}

template <typename T>
void write_switch(Json& json, const Switch<T>& which, T value) {
  if (which.key == nullptr) return;
  if (which.stated_if_set && value == which.value) return;
  if constexpr (std::is_enum_v<T>) {
    json[which.key] = word_of(value);
  } else {
    json[which.key] = value;
  }
}

// The first files of this program said true for the norm of every head.
QkNorm read_qk_norm(const Json& json, const Switch<QkNorm>& which) {
  if (which.key != nullptr && json[which.key].is_boolean()) {
    return json[which.key].get<bool>() ? QkNorm::kHead : QkNorm::kNone;
  }
  return read_switch(json, which);
}

// Null, where the class takes it, stands for `formed`.
int64_t field_or_formed(const Family& family, const Json& json, const char* key,
                        int64_t formed) {
  return family.takes_null(key) ? field_or<int64_t>(json, key, formed)
                                : field<int64_t>(json, key);
}

// What the class forms may be stated beside it if it is the same.
void read_plain_heads(const Json& json, ModelConfig& config) {
  const int64_t heads = config.num_attention_heads;
  if (heads < 1 || config.hidden_size % heads != 0) {
    user_error(
        "reading a model's config.json: hidden_size {} is not a multiple of "
        "num_attention_heads {}",
        config.hidden_size, heads);
  }
  config.num_key_value_heads = heads;
  config.head_dim = config.hidden_size / heads;
  const auto require = [&](const char* key, int64_t formed) {
    if (field_or<int64_t>(json, key, formed) == formed) return;
    user_error(
        "reading a model's config.json: '{}' is {}, which no model here "
        "computes; expected {}, as its class forms it of hidden_size {} and "
        "num_attention_heads {}",
        key, shown(json[key]), formed, config.hidden_size, heads);
  };
  require("num_key_value_heads", heads);
  require("head_dim", config.head_dim);
}

void read_sizes(const Family& family, const Json& json, ModelConfig& config) {
  config.vocab_size = field<int64_t>(json, "vocab_size");
  config.hidden_size = field<int64_t>(json, "hidden_size");
  config.intermediate_size = field<int64_t>(json, "intermediate_size");
  config.num_hidden_layers = field<int64_t>(json, "num_hidden_layers");
  config.num_attention_heads = field<int64_t>(json, "num_attention_heads");
  const int64_t heads = config.num_attention_heads;
  if (family.plain_heads) return read_plain_heads(json, config);
  config.num_key_value_heads =
      field_or_formed(family, json, "num_key_value_heads", heads);
  config.head_dim =
      field_or_formed(family, json, "head_dim",
                      config.hidden_size / std::max<int64_t>(1, heads));
}

void require_same(const Json& json, const char* key, const char* alias) {
  if (!states(json, key) || json[key] == json[alias]) return;
  user_error(
      "reading a model's config.json: '{}' is {} and '{}' is {}, expected the "
      "same",
      key, shown(json[key]), alias, shown(json[alias]));
}

void read_experts(const Family& family, const Json& json, ModelConfig& config) {
  config.num_experts = field<int64_t>(json, family.num_experts_key);
  config.num_experts_per_tok = field<int64_t>(json, "num_experts_per_tok");
  config.intermediate_size = field_or_formed(
      family, json, family.expert_width_key, config.intermediate_size);
  config.norm_topk_prob = read_switch(json, family.norm_topk_prob);
  config.shared_expert_intermediate_size =
      read_switch(json, family.shared_expert_width);
}

void write_experts(const Family& family, const ModelConfig& config,
                   Json& json) {
  json[family.num_experts_key] = config.num_experts;
  if (family.writes_alias) {
    json[family.num_experts_alias] = config.num_experts;
  }
  json["num_experts_per_tok"] = config.num_experts_per_tok;
  json[family.expert_width_key] = config.intermediate_size;
  write_switch(json, family.norm_topk_prob, config.norm_topk_prob);
  write_switch(json, family.shared_expert_width,
               config.shared_expert_intermediate_size);
}

double read_logit_multiplier(const Family& family, const Json& json) {
  if (family.logit_multiplier_key != nullptr) {
    return field<double>(json, family.logit_multiplier_key);
  }
  if (family.logit_divisor_key != nullptr) {
    return 1 / field<double>(json, family.logit_divisor_key);
  }
  return 1;
}

void write_multipliers(const Family& family, const ModelConfig& config,
                       Json& json) {
  if (family.logit_multiplier_key != nullptr) {
    json[family.logit_multiplier_key] = config.logit_multiplier;
  }
  if (family.logit_divisor_key != nullptr) {
    json[family.logit_divisor_key] = 1 / config.logit_multiplier;
  }
  if (family.attention_scale_key != nullptr) {
    json[family.attention_scale_key] =
        1 / std::sqrt(static_cast<double>(config.head_dim));
  }
  for (const auto& [key, value] : family.neutral_keys) json[key] = value;
}

}  // namespace

Json with_defaults(const Family& family, const Json& json) {
  Json all = family.attributes;
  all.update(json);
  const char* alias = family.num_experts_alias;
  if (alias != nullptr && states(json, alias)) {
    require_same(json, family.num_experts_key, alias);
    all[family.num_experts_key] = json[alias];
  }
  return all;
}

ModelConfig read_shape(const Family& family, const Json& stated) {
  const Json json = with_defaults(family, stated);
  ModelConfig config;
  config.max_position_embeddings =
      field<int64_t>(json, "max_position_embeddings");
  read_sizes(family, json, config);
  config.hidden_act = read_word<Activation>(json);
  config.gated = read_switch(json, family.gated);
  config.qk_norm = read_qk_norm(json, family.qk_norm);
  config.norm_placement = read_switch(json, family.norm_placement);
  config.norm_type = read_switch(json, family.norm_type);
  config.parallel_residual = read_switch(json, family.parallel_residual);
  config.fused_qkv = read_switch(json, family.fused_qkv);
  config.qkv_bias = read_switch(json, family.qkv_bias);
  config.o_bias = read_switch(json, family.o_bias);
  config.mlp_bias = read_switch(json, family.mlp_bias);
  config.tie_word_embeddings = field<bool>(json, "tie_word_embeddings");
  config.logit_multiplier = read_logit_multiplier(family, json);
  config.rms_norm_eps = field<double>(json, family.norm_eps_key);
  read_rope(family, json, config);
  config.initializer_range = field<double>(json, "initializer_range");
  if (family.mixture) read_experts(family, json, config);
  return config;
}

Json write_shape(const Family& family, const ModelConfig& config) {
  Json json = {
      {"architectures", {family.architecture}},
      {"model_type", family.model_type},
      {"vocab_size", config.vocab_size},
      {"hidden_size", config.hidden_size},
      {"intermediate_size", config.intermediate_size},
      {"num_hidden_layers", config.num_hidden_layers},
      {"num_attention_heads", config.num_attention_heads},
      {"hidden_act", word_of(config.hidden_act)},
      {"tie_word_embeddings", config.tie_word_embeddings},
      {family.norm_eps_key, config.rms_norm_eps},
      {"max_position_embeddings", config.max_position_embeddings},
      {"initializer_range", config.initializer_range},
  };
  if (!family.plain_heads) {
    json["num_key_value_heads"] = config.num_key_value_heads;
    json["head_dim"] = config.head_dim;
  }
  write_rope(family, config, json);
  write_switch(json, family.gated, config.gated);
  write_switch(json, family.qk_norm, config.qk_norm);
  write_switch(json, family.norm_placement, config.norm_placement);
  write_switch(json, family.norm_type, config.norm_type);
  write_switch(json, family.parallel_residual, config.parallel_residual);
  write_switch(json, family.fused_qkv, config.fused_qkv);
  write_switch(json, family.qkv_bias, config.qkv_bias);
  write_switch(json, family.o_bias, config.o_bias);
  write_switch(json, family.mlp_bias, config.mlp_bias);
  write_multipliers(family, config, json);
  if (family.mixture) write_experts(family, config, json);
  if (family.sliding_window == SlidingWindow::kWhenSet &&
      !family.attributes.at("sliding_window").is_null()) {
    json["sliding_window"] = nullptr;
  }
  return json;
}

Json to_json(const ModelConfig& config) {
  return write_shape(family_of(config), config);
}

ModelConfig model_config_from_json(const Json& json) {
  if (!json.is_object()) {
    user_error("reading a model's config.json: found {}, expected an object",
               json.type_name());
  }
  const Family& family = find_family(field<std::string>(json, "model_type"));
  const ModelConfig config = read_shape(family, json);
  try {
    validate(config);
  } catch (const UserError& error) {
    user_error("{}{}", error.what(), left_to_the_class(json));
  }
  refuse_unsupported(family, with_defaults(family, json), config);
  const Family& home = family_of(config);
  if (home.names != family.names) {
    user_error(
        "reading a model's config.json: found model_type {} with fields of {}, "
        "expected them to agree",
        quote(family.model_type), quote(home.model_type));
  }
  return config;
}

}  // namespace annuli
