#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "annuli/config/class_defaults.h"
#include "annuli/config/family.h"
#include "annuli/config/field.h"
#include "annuli/config/json_field.h"
#include "annuli/config/model_fields.h"
#include "annuli/config/rope_json.h"
#include "annuli/core/json.h"

namespace annuli {
namespace {

// Other words of transformers for an activation that is computed here, and only
// such as are the same function.
std::string_view same_word(std::string_view name) {
  if (name == "swish") return "silu";
  if (name == "gelu_python") return "gelu";
  return name;
}

template <typename T>
T read_word(const Json& json, const char* key) {
  const auto name = field<std::string>(json, key);
  const auto value = value_of<T>(same_word(name));
  if (!value) {
    user_error("reading a model's config.json: found {} {}, expected {}", key,
               quote(name), fmt::join(EnumWords<T>::kWords, ", "));
  }
  return *value;
}

template <typename T>
T read_value(const Json& json, const char* key) {
  if constexpr (std::is_same_v<T, QkNorm>) {
    // The first files of this program said true for the norm of every head.
    if (const auto found = json.find(key);
        found != json.end() && found->is_boolean()) {
      return found->template get<bool>() ? QkNorm::kHead : QkNorm::kNone;
    }
  }
  if constexpr (std::is_enum_v<T>) {
    return read_word<T>(json, key);
  } else {
    return field<T>(json, key);
  }
}

template <typename T>
Switch<T> switch_of(const Family& /*family*/, const ModelField& field,
                    UnderItsName /*stated*/) {
  return {.key = field.name};
}
template <typename T>
Switch<T> switch_of(const Family& family, const ModelField& /*field*/,
                    const char* Family::*key) {
  return {.key = family.*key};
}
template <typename T>
Switch<T> switch_of(const Family& family, const ModelField& /*field*/,
                    Switch<T> Family::*which) {
  return family.*which;
}

// visit(field, member, Switch) for each field that a key of its own states, or
// the class fixes.
void visit_switches(const Family& family, auto&& visit) {
  visit_model_fields([&](const ModelField& field, auto member, auto stated) {
    if constexpr (!std::is_same_v<decltype(stated), ByItself>) {
      using T = std::remove_cvref_t<decltype(ModelConfig{}.*member)>;
      visit(field, member, switch_of<T>(family, field, stated));
    }
  });
}

void read_switches(const Family& family, const Json& json,
                   ModelConfig& config) {
  visit_switches(family, [&]<typename T>(const ModelField& /*field*/,
                                         auto member, Switch<T> which) {
    config.*member =
        which.key == nullptr ? which.value : read_value<T>(json, which.key);
  });
}

void write_switches(const Family& family, const ModelConfig& config,
                    Json& json) {
  visit_switches(family, [&]<typename T>(const ModelField& field, auto member,
                                         Switch<T> which) {
    const T& value = config.*member;
    const bool is_set = value != ModelConfig{}.*member;
    if (which.key == nullptr) return;
    if (field.stated_if_set && family.is_ours() && !is_set) return;
    if constexpr (std::is_enum_v<T>) {
      json[which.key] = word_of(value);
    } else {
      json[which.key] = value;
    }
  });
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

void read_heads(const Family& family, const Json& json, ModelConfig& config) {
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
  // No class of transformers routes by a softmax and has one.
  if (family.is_ours()) {
    config.selection_bias = field<bool>(json, "selection_bias");
  }
}

void write_experts(const Family& family, const ModelConfig& config,
                   Json& json) {
  json[family.num_experts_key] = config.num_experts;
  if (family.writes_alias) {
    json[family.num_experts_alias] = config.num_experts;
  }
  json["num_experts_per_tok"] = config.num_experts_per_tok;
  json[family.expert_width_key] = config.intermediate_size;
  if (family.is_ours() && config.selection_bias) json["selection_bias"] = true;
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
  read_switches(family, json, config);
  read_heads(family, json, config);
  config.logit_multiplier = read_logit_multiplier(family, json);
  read_rope(family, json, config);
  if (family.mixture) read_experts(family, json, config);
  return config;
}

Json write_shape(const Family& family, const ModelConfig& config) {
  Json json = {{"architectures", {family.architecture}},
               {"model_type", family.model_type}};
  write_switches(family, config, json);
  if (!family.plain_heads) {
    json["num_key_value_heads"] = config.num_key_value_heads;
    json["head_dim"] = config.head_dim;
  }
  write_rope(family, config, json);
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
