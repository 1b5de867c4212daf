#include "annuli/config/rope_json.h"

#include "annuli/config/json_field.h"
#include "annuli/core/json.h"

namespace annuli {
namespace {

using Type = RopeScaling::Type;

Type read_type(const Json& rope) {
  const auto name = field_or<std::string>(
      rope, "rope_type", field_or<std::string>(rope, "type", "default"));
  if (name == "default") return Type::kDefault;
  if (name == "linear") return Type::kLinear;
  if (name == "llama3") return Type::kLlama3;
  user_error(
      "reading a model's config.json: found rope_type {}, which no model here "
      "computes; expected default, linear or llama3",
      quote(name));
}

// The object that counts; an empty one where there is none.
Json rope_object(const Json& json) {
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!states(json, key) || json[key].empty()) continue;
    if (!json[key].is_object()) {
      user_error(
          "reading a model's config.json: '{}' is {}, expected an object", key,
          shown(json[key]));
    }
    return json[key];
  }
  return Json::object();
}

RopeScaling read_scaling(const Json& json, const Json& rope,
                         int64_t max_position_embeddings) {
  RopeScaling scaling;
  scaling.type = read_type(rope);
  if (scaling.type == Type::kDefault) return scaling;
  scaling.factor = field<double>(rope, "factor");
  if (scaling.type == Type::kLinear) return scaling;
  scaling.low_freq_factor = field<double>(rope, "low_freq_factor");
  scaling.high_freq_factor = field<double>(rope, "high_freq_factor");
  constexpr const char* kLength = "original_max_position_embeddings";
  scaling.original_max_position_embeddings = field_or<int64_t>(
      json, kLength, field_or<int64_t>(rope, kLength, max_position_embeddings));
  return scaling;
}

// Null is as good as absent.
double read_share(const Family& family, const Json& json, const Json& rope) {
  constexpr const char* kShare = "partial_rotary_factor";
  if (family.partial_rotary_key != nullptr) {
    return field_or<double>(rope, kShare,
                            field_or<double>(json, family.partial_rotary_key,
                                             family.default_partial_rotary));
  }
  for (const Json* where : {&json, &rope}) {
    if (field_or<double>(*where, kShare, 1) != 1) {
      user_error(
          "reading a model's config.json: partial_rotary_factor is not 1, "
          "which no model here computes");
    }
  }
  return 1;
}

}  // namespace

Json scaling_json(const RopeScaling& scaling) {
  if (scaling.type == Type::kDefault) return {{"rope_type", "default"}};
  if (scaling.type == Type::kLinear) {
    return {{"rope_type", "linear"}, {"factor", scaling.factor}};
  }
  return {{"rope_type", "llama3"},
          {"factor", scaling.factor},
          {"low_freq_factor", scaling.low_freq_factor},
          {"high_freq_factor", scaling.high_freq_factor},
          {"original_max_position_embeddings",
           scaling.original_max_position_embeddings}};
}

void read_rope(const Family& family, const Json& json, ModelConfig& config) {
  const Json rope = rope_object(json);
  for (const auto& [key, value] : rope.items()) {
    if (value.is_object()) {
      user_error(
          "reading a model's config.json: rotary positions differ by layer "
          "({}), which no model here computes",
          quote(key));
    }
  }
  const bool within = rope.contains("rope_theta");
  const char* key = within ? "rope_theta" : family.rope_theta_key;
  const Json& stated = within ? rope : json;
  config.rope_theta = stated.contains(key) ? field<double>(stated, key)
                                           : family.default_rope_theta;
  config.partial_rotary_factor = read_share(family, json, rope);
  config.rope_scaling =
      read_scaling(json, rope, config.max_position_embeddings);
}

void write_rope(const Family& family, const ModelConfig& config, Json& json) {
  Json scaling = scaling_json(config.rope_scaling);
  const double share = config.partial_rotary_factor;
  if (family.partial_rotary_key != nullptr &&
      (share != 1 || family.default_partial_rotary != 1)) {
    scaling["partial_rotary_factor"] = share;
    json[family.partial_rotary_key] = share;
  }
  json[family.rope_theta_key] = config.rope_theta;
  json["rope_scaling"] =
      config.rope_scaling.type == Type::kDefault ? Json() : scaling;
  json["rope_parameters"] = scaling;
  json["rope_parameters"]["rope_theta"] = config.rope_theta;
}

}  // namespace annuli
