#include <algorithm>
#include <array>
#include <string_view>

#include "annuli/config/model_config.h"
#include "annuli/config/quote.h"
#include "annuli/core/error.h"

namespace annuli {
namespace {

using Json = nlohmann::json;

struct Family {
  std::string_view model_type;
  std::string_view architecture;
  bool mixture;
  bool gated;
};

constexpr auto kFamilies = std::to_array<Family>({
    {"llama", "LlamaForCausalLM", false, true},
    {"arcee", "ArceeForCausalLM", false, false},
    {"qwen3", "Qwen3ForCausalLM", false, true},
    {"annuli", "AnnuliForCausalLM", false, false},
    {"mixtral", "MixtralForCausalLM", true, true},
    {"qwen3_moe", "Qwen3MoeForCausalLM", true, true},
    {"annuli_moe", "AnnuliMoeForCausalLM", true, false},
});

const Family& find_family(std::string_view type) {
  const auto family = std::ranges::find(kFamilies, type, &Family::model_type);
  if (family != kFamilies.end()) return *family;
  std::string all;
  for (const auto& known : kFamilies) {
    all.append(all.empty() ? "" : ", ").append(known.model_type);
  }
  user_error(
      "reading a model's config.json: found model_type {}, expected one "
      "of {}",
      quote(type), all);
}

// nlohmann's own `get` would turn 1.5 into 1 and true into 1.
template <typename T>
bool holds(const Json& json) {
  if constexpr (std::is_same_v<T, bool>) return json.is_boolean();
  if constexpr (std::is_same_v<T, int64_t>) {
    return json.is_number_integer() &&
           !(json.is_number_unsigned() && json.get<uint64_t>() > INT64_MAX);
  }
  if constexpr (std::is_same_v<T, double>) return json.is_number();
  if constexpr (std::is_same_v<T, std::string>) return json.is_string();
}

template <typename T>
constexpr const char* kTypeName = "a text";
template <>
constexpr const char* kTypeName<bool> = "true or false";
template <>
constexpr const char* kTypeName<int64_t> = "an integer";
template <>
constexpr const char* kTypeName<double> = "a number";

template <typename T>
T field(const Json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end()) {
    user_error("reading a model's config.json: no '{}', expected {}", key,
               kTypeName<T>);
  }
  if (!holds<T>(*found)) {
    user_error(
        "reading a model's config.json: '{}' is {}, expected {}", key,
        quote(found->dump(-1, ' ', true, Json::error_handler_t::replace)),
        kTypeName<T>);
  }
  return found->get<T>();
}

template <typename T>
T field_or(const Json& json, const char* key, T fallback) {
  const auto found = json.find(key);
  return found == json.end() || found->is_null() ? fallback
                                                 : field<T>(json, key);
}

[[noreturn]] void unsupported(const char* what) {
  user_error("reading a model's config.json: {}, which no model here computes",
             what);
}

// What other programs' models may have and ours do not: refused, since the
// function would silently be another one.
void refuse_unsupported(const Json& json, const ModelConfig& config) {
  if (field_or<bool>(json, "attention_bias", false)) {
    unsupported("attention_bias is true");
  }
  if (field_or<bool>(json, "mlp_bias", false)) unsupported("mlp_bias is true");
  const bool slides = field_or<bool>(json, "use_sliding_window", true);
  const auto window =
      field_or<int64_t>(json, "sliding_window", config.max_position_embeddings);
  if (slides && window < config.max_position_embeddings) {
    unsupported("sliding_window is below max_position_embeddings");
  }
  if (json.contains("rope_scaling") && !json["rope_scaling"].is_null()) {
    const auto& scaling = json["rope_scaling"];
    if (!scaling.is_object() ||
        field_or<std::string>(scaling, "rope_type", "") != "default") {
      unsupported("rope_scaling is set");
    }
  }
  if (field_or<double>(json, "partial_rotary_factor", 1) != 1) {
    unsupported("partial_rotary_factor is not 1");
  }
}

void refuse_unsupported_mixture(const Json& json, std::string_view type) {
  // Mixtral always renormalises; Qwen3-MoE only if told to.
  const bool by_default = type != "qwen3_moe";
  if (!field_or<bool>(json, "norm_topk_prob", by_default)) {
    unsupported("norm_topk_prob is false");
  }
  if (field_or<int64_t>(json, "decoder_sparse_step", 1) != 1) {
    unsupported("decoder_sparse_step is not 1");
  }
  if (json.contains("mlp_only_layers") && !json["mlp_only_layers"].empty()) {
    unsupported("mlp_only_layers is not empty");
  }
}

double read_rope_theta(const Json& json) {
  const auto parameters = json.find("rope_parameters");
  if (parameters == json.end() || !parameters->is_object()) {
    return field_or<double>(json, "rope_theta", 10000);
  }
  if (field_or<std::string>(*parameters, "rope_type", "default") != "default") {
    unsupported("rope_type is not default");
  }
  if (field_or<double>(*parameters, "partial_rotary_factor", 1) != 1) {
    unsupported("partial_rotary_factor is not 1");
  }
  return field<double>(*parameters, "rope_theta");
}

Activation read_activation(const Json& json) {
  const auto name = field<std::string>(json, "hidden_act");
  if (name == "silu") return Activation::kSilu;
  if (name == "gelu") return Activation::kGelu;
  user_error(
      "reading a model's config.json: found hidden_act {}, expected "
      "silu or gelu",
      quote(name));
}

void read_sizes(const Json& json, ModelConfig& config) {
  config.vocab_size = field<int64_t>(json, "vocab_size");
  config.hidden_size = field<int64_t>(json, "hidden_size");
  config.intermediate_size = field<int64_t>(json, "intermediate_size");
  config.num_hidden_layers = field<int64_t>(json, "num_hidden_layers");
  config.num_attention_heads = field<int64_t>(json, "num_attention_heads");
  const int64_t heads = config.num_attention_heads;
  config.num_key_value_heads =
      field_or<int64_t>(json, "num_key_value_heads", heads);
  config.head_dim = field_or<int64_t>(
      json, "head_dim", config.hidden_size / std::max<int64_t>(1, heads));
  config.max_position_embeddings =
      field_or<int64_t>(json, "max_position_embeddings", 2048);
}

void read_experts(const Json& json, std::string_view type,
                  ModelConfig& config) {
  const char* key =
      json.contains("num_local_experts") ? "num_local_experts" : "num_experts";
  config.num_experts = field<int64_t>(json, key);
  config.num_experts_per_tok = field<int64_t>(json, "num_experts_per_tok");
  config.intermediate_size = field_or<int64_t>(json, "moe_intermediate_size",
                                               config.intermediate_size);
  refuse_unsupported_mixture(json, type);
}

void write_experts(const ModelConfig& config, Json& json) {
  json["num_experts_per_tok"] = config.num_experts_per_tok;
  if (json["model_type"] == "mixtral") {
    json["num_local_experts"] = config.num_experts;
    return;
  }
  json["num_experts"] = config.num_experts;
  json["moe_intermediate_size"] = config.intermediate_size;
  json["norm_topk_prob"] = true;
}

}  // namespace

Json to_json(const ModelConfig& config) {
  const Family& family = find_family(model_type(config));
  Json json = {
      {"architectures", {family.architecture}},
      {"model_type", family.model_type},
      {"vocab_size", config.vocab_size},
      {"hidden_size", config.hidden_size},
      {"intermediate_size", config.intermediate_size},
      {"num_hidden_layers", config.num_hidden_layers},
      {"num_attention_heads", config.num_attention_heads},
      {"num_key_value_heads", config.num_key_value_heads},
      {"head_dim", config.head_dim},
      {"hidden_act", config.hidden_act == Activation::kSilu ? "silu" : "gelu"},
      {"tie_word_embeddings", config.tie_word_embeddings},
      {"rms_norm_eps", config.rms_norm_eps},
      {"rope_theta", config.rope_theta},
      {"rope_parameters",
       {{"rope_theta", config.rope_theta}, {"rope_type", "default"}}},
      {"max_position_embeddings", config.max_position_embeddings},
      {"initializer_range", config.initializer_range},
      {"qk_norm", config.qk_norm == QkNorm::kHead},
      {"attention_bias", false},
      {"mlp_bias", false},
  };
  if (config.is_mixture()) write_experts(config, json);
  return json;
}

ModelConfig model_config_from_json(const Json& json) {
  if (!json.is_object()) {
    user_error("reading a model's config.json: found {}, expected an object",
               json.type_name());
  }
  const auto type = field<std::string>(json, "model_type");
  const Family& family = find_family(type);
  ModelConfig config;
  read_sizes(json, config);
  config.hidden_act = read_activation(json);
  config.gated = family.gated;
  const bool qk_norm = field_or<bool>(
      json, "qk_norm", type.starts_with("qwen3") || type == "annuli");
  config.qk_norm = qk_norm ? QkNorm::kHead : QkNorm::kNone;
  config.tie_word_embeddings =
      field_or<bool>(json, "tie_word_embeddings", false);
  config.rms_norm_eps = field<double>(json, "rms_norm_eps");
  config.rope_theta = read_rope_theta(json);
  config.initializer_range = field_or<double>(json, "initializer_range", 0.02);
  if (family.mixture) read_experts(json, type, config);
  refuse_unsupported(json, config);
  validate(config);
  if (model_type(config) != type) {
    user_error(
        "reading a model's config.json: found model_type {} with fields "
        "of {}, expected them to agree",
        quote(type), quote(model_type(config)));
  }
  return config;
}

}  // namespace annuli
