#include "annuli/config/model_config.h"

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "annuli/core/error.h"

namespace annuli {
namespace {

// The shape decides the family; `architectures` follows from it.
struct Family {
  const char* model_type;
  const char* architecture;
};

Family family_of(const ModelConfig& config) {
  if (config.is_mixture()) {
    if (!config.gated) return {"annuli_moe", "AnnuliMoeForCausalLM"};
    if (config.qk_norm) return {"qwen3_moe", "Qwen3MoeForCausalLM"};
    return {"mixtral", "MixtralForCausalLM"};
  }
  if (!config.gated) {
    // Arcee is the ungated Llama; with q/k norms no class is left.
    if (config.qk_norm) return {"annuli", "AnnuliForCausalLM"};
    return {"arcee", "ArceeForCausalLM"};
  }
  if (config.qk_norm) return {"qwen3", "Qwen3ForCausalLM"};
  return {"llama", "LlamaForCausalLM"};
}

template <typename T>
T field(const nlohmann::json& json, const char* key) {
  if (!json.contains(key)) {
    user_error("reading a model's config.json: no '{}'", key);
  }
  try {
    return json.at(key).get<T>();
  } catch (const nlohmann::json::exception&) {
    user_error("reading a model's config.json: '{}' is {}, of the wrong type",
               key, json.at(key).dump());
  }
}

template <typename T>
T field_or(const nlohmann::json& json, const char* key, T fallback) {
  if (!json.contains(key) || json.at(key).is_null()) return fallback;
  return field<T>(json, key);
}

double read_rope_theta(const nlohmann::json& json) {
  if (json.contains("rope_parameters") && json["rope_parameters"].is_object()) {
    return field<double>(json["rope_parameters"], "rope_theta");
  }
  return field_or<double>(json, "rope_theta", 10000);
}

Activation read_activation(const nlohmann::json& json) {
  const auto name = field<std::string>(json, "hidden_act");
  if (name == "silu") return Activation::kSilu;
  if (name == "gelu") return Activation::kGelu;
  user_error(
      "reading a model's config.json: hidden_act '{}', expected silu "
      "or gelu",
      name);
}

}  // namespace

std::string model_type(const ModelConfig& config) {
  return family_of(config).model_type;
}

void validate(const ModelConfig& config) {
  const std::initializer_list<std::pair<const char*, int64_t>> sizes = {
      {"vocab_size", config.vocab_size},
      {"hidden_size", config.hidden_size},
      {"intermediate_size", config.intermediate_size},
      {"num_hidden_layers", config.num_hidden_layers},
      {"num_attention_heads", config.num_attention_heads},
      {"num_key_value_heads", config.num_key_value_heads},
      {"head_dim", config.head_dim},
  };
  constexpr int64_t kLargest = int64_t{1} << 31;
  for (const auto& [name, value] : sizes) {
    if (value < 1 || value > kLargest) {
      user_error("checking the model: {} is {}, expected 1 to {}", name, value,
                 kLargest);
    }
  }
  if (config.num_attention_heads % config.num_key_value_heads != 0) {
    user_error(
        "checking the model: num_attention_heads {} is not a multiple "
        "of num_key_value_heads {}",
        config.num_attention_heads, config.num_key_value_heads);
  }
  if (config.head_dim % 2 != 0) {
    user_error(
        "checking the model: head_dim {} is odd; rotary positions need "
        "an even one",
        config.head_dim);
  }
  const bool dense = config.num_experts == 0 && config.num_experts_per_tok == 0;
  if (!dense && (config.num_experts_per_tok < 1 ||
                 config.num_experts_per_tok > config.num_experts)) {
    user_error(
        "checking the model: num_experts_per_tok {} of num_experts {}, "
        "expected 1 to num_experts, or both 0 for a dense model",
        config.num_experts_per_tok, config.num_experts);
  }
  if (!(config.rms_norm_eps > 0) || !(config.rope_theta > 0)) {
    user_error(
        "checking the model: rms_norm_eps {} and rope_theta {} must be "
        "positive",
        config.rms_norm_eps, config.rope_theta);
  }
}

nlohmann::json to_json(const ModelConfig& config) {
  const Family family = family_of(config);
  nlohmann::json json = {
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
      {"qk_norm", config.qk_norm},
      {"attention_bias", false},
      {"mlp_bias", false},
  };
  if (config.is_mixture()) {
    json["num_experts_per_tok"] = config.num_experts_per_tok;
    json[json["model_type"] == "mixtral" ? "num_local_experts"
                                         : "num_experts"] = config.num_experts;
    json["norm_topk_prob"] = true;
    if (json["model_type"] != "mixtral") {
      json["moe_intermediate_size"] = config.intermediate_size;
    }
  }
  return json;
}

ModelConfig model_config_from_json(const nlohmann::json& json) {
  const auto type = field<std::string>(json, "model_type");
  ModelConfig config;
  config.vocab_size = field<int64_t>(json, "vocab_size");
  config.hidden_size = field<int64_t>(json, "hidden_size");
  config.intermediate_size = field<int64_t>(json, "intermediate_size");
  config.num_hidden_layers = field<int64_t>(json, "num_hidden_layers");
  config.num_attention_heads = field<int64_t>(json, "num_attention_heads");
  config.num_key_value_heads = field_or<int64_t>(json, "num_key_value_heads",
                                                 config.num_attention_heads);
  config.head_dim = field_or<int64_t>(
      json, "head_dim",
      config.hidden_size / std::max<int64_t>(1, config.num_attention_heads));
  config.num_experts = field_or<int64_t>(
      json, "num_local_experts", field_or<int64_t>(json, "num_experts", 0));
  config.num_experts_per_tok =
      config.num_experts > 0 ? field<int64_t>(json, "num_experts_per_tok") : 0;
  if (config.is_mixture()) {
    config.intermediate_size = field_or<int64_t>(json, "moe_intermediate_size",
                                                 config.intermediate_size);
  }
  config.hidden_act = read_activation(json);
  config.gated = type != "arcee" && type != "annuli" && type != "annuli_moe";
  config.qk_norm = type == "qwen3" || type == "qwen3_moe" || type == "annuli" ||
                   field_or<bool>(json, "qk_norm", false);
  config.tie_word_embeddings =
      field_or<bool>(json, "tie_word_embeddings", false);
  config.rms_norm_eps = field<double>(json, "rms_norm_eps");
  config.rope_theta = read_rope_theta(json);
  config.max_position_embeddings =
      field_or<int64_t>(json, "max_position_embeddings", 2048);
  config.initializer_range = field_or<double>(json, "initializer_range", 0.02);
  validate(config);
  return config;
}

}  // namespace annuli
