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
  if (name == "yarn") return Type::kYarn;
  user_error(
      "reading a model's config.json: found rope_type {}, which no model here "
      "computes; expected default, linear, llama3 or yarn",
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

// DeepSeek's files have the quotient of two, of `mscale` and `mscale_all_dim`.
double read_attention_factor(const Json& rope, double factor) {
  const auto mscale = field_or<double>(rope, "mscale", 0);
  const auto of_all = field_or<double>(rope, "mscale_all_dim", 0);
  const double unstated = mscale != 0 && of_all != 0
                              ? yarn_attention_factor(factor, mscale) /
                                    yarn_attention_factor(factor, of_all)
                              : yarn_attention_factor(factor);
  return field_or<double>(rope, "attention_factor", unstated);
}

// Null and, for the two betas, 0 are as good as absent.
void read_yarn(const Json& rope, RopeScaling& scaling) {
  const auto stated = [&](const char* key, double other) {
    const auto value = field_or<double>(rope, key, 0);
    return value != 0 ? value : other;
  };
  scaling.beta_fast = stated("beta_fast", scaling.beta_fast);
  scaling.beta_slow = stated("beta_slow", scaling.beta_slow);
  scaling.attention_factor = read_attention_factor(rope, scaling.factor);
  scaling.truncate = field_or<bool>(rope, "truncate", true);
}

RopeScaling read_scaling(const Json& json, const Json& rope,
                         int64_t max_position_embeddings) {
  RopeScaling scaling;
  scaling.type = read_type(rope);
  if (scaling.type == Type::kDefault) return scaling;
  constexpr const char* kLength = "original_max_position_embeddings";
  if (scaling.type != Type::kLinear) {
    scaling.original_max_position_embeddings = field_or<int64_t>(
        json, kLength,
        field_or<int64_t>(rope, kLength, max_position_embeddings));
  }
  // Yarn may leave the factor out: it is how much longer the model has become.
  scaling.factor =
      scaling.type == Type::kYarn && !states(rope, "factor")
          ? static_cast<double>(max_position_embeddings) /
                static_cast<double>(scaling.original_max_position_embeddings)
          : field<double>(rope, "factor");
  if (scaling.type == Type::kYarn) read_yarn(rope, scaling);
  if (scaling.type == Type::kLlama3) {
    scaling.low_freq_factor = field<double>(rope, "low_freq_factor");
    scaling.high_freq_factor = field<double>(rope, "high_freq_factor");
  }
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
  if (scaling.type == Type::kYarn) {
    return {{"rope_type", "yarn"},
            {"factor", scaling.factor},
            {"original_max_position_embeddings",
             scaling.original_max_position_embeddings},
            {"beta_fast", scaling.beta_fast},
            {"beta_slow", scaling.beta_slow},
            {"attention_factor", scaling.attention_factor},
            {"truncate", scaling.truncate}};
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
