#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

// The shape of one decoder-only transformer; everything that its function
// depends on besides the weights. Names are Hugging Face's.
//
// Guarantees after `validate`: every size is positive, heads divide into
// key/value groups, 1 <= num_experts_per_tok <= num_experts or both are 0.
namespace annuli {

enum class Activation { kGelu, kSilu };  // gelu is the exact one, by erf

struct ModelConfig {
  int64_t vocab_size = 50257;        // V
  int64_t hidden_size = 512;         // D
  int64_t intermediate_size = 2048;  // F, of one expert in a mixture
  int64_t num_hidden_layers = 12;    // L
  int64_t num_attention_heads = 8;   // H
  int64_t num_key_value_heads = 8;   // K
  int64_t head_dim = 64;
  int64_t num_experts = 0;          // E; 0 means dense
  int64_t num_experts_per_tok = 0;  // k
  Activation hidden_act = Activation::kGelu;
  bool gated = false;    // act(gate x) * (up x), else act(up x)
  bool qk_norm = false;  // per-head RMSNorm of q and k
  bool tie_word_embeddings = true;
  double rms_norm_eps = 1e-5;
  double rope_theta = 10000;
  int64_t max_position_embeddings = 2048;
  double initializer_range = 0.02;

  bool is_mixture() const { return num_experts > 0; }
  bool operator==(const ModelConfig&) const = default;
};

// Throws UserError naming the first field that cannot be.
void validate(const ModelConfig& config);

// A Hugging Face config.json object and back. `model_type` follows from the
// shape: llama, arcee, qwen3, mixtral, qwen3_moe, or annuli_moe where
// transformers has no class (ungated mixture). `from_json` throws UserError.
nlohmann::json to_json(const ModelConfig& config);
ModelConfig model_config_from_json(const nlohmann::json& json);

// "llama", "mixtral", ...: which family of names and classes this shape is.
std::string model_type(const ModelConfig& config);

}  // namespace annuli
