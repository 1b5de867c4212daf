#pragma once

#include <cstdint>
#include <string>

#include "annuli/core/activation.h"
#include "annuli/core/enum_words.h"
#include "annuli/core/json.h"

// The shape of one decoder-only transformer; everything that its function
// depends on besides the weights. Names are Hugging Face's.
//
// Guarantees after `validate`: every size is positive, heads divide into
// key/value groups, 1 <= num_experts_per_tok <= num_experts or both are 0.
namespace annuli {

template <>
struct EnumWords<Activation> {
  static constexpr auto kWords = kActivationWords;
};

// RMSNorm of q and k before RoPE: of each head by one gain of head_dim (Qwen3),
// or of the whole projection by a gain of all heads (OLMo-2).
enum class QkNorm { kNone, kHead, kFull };
ANNULI_ENUM_WORDS(QkNorm, "none", "head", "full");

// Where a block is normalised: x + f(norm(x)), or x + norm(f(x)) (OLMo-2).
enum class NormPlacement { kPre, kPost };
ANNULI_ENUM_WORDS(NormPlacement, "pre", "post");

// What the norms of the residual stream are: x / rms(x) * gain, or LayerNorm,
// (x - mean(x)) / deviation(x) * gain + bias (GPT-NeoX).
enum class NormType { kRms, kLayer };
ANNULI_ENUM_WORDS(NormType, "rms", "layer");

// How rotary frequencies are stretched beyond the trained length; the names are
// transformers'. Only the fields of the type count.
struct RopeScaling {
  enum class Type { kDefault, kLinear, kLlama3, kYarn };
  Type type = Type::kDefault;
  double factor = 1;
  double low_freq_factor = 1;                       // llama3
  double high_freq_factor = 4;                      // llama3
  int64_t original_max_position_embeddings = 8192;  // llama3, yarn
  double beta_fast = 32;                            // yarn
  double beta_slow = 1;                             // yarn
  double attention_factor = 1;                      // yarn
  bool truncate = true;                             // yarn
  bool operator==(const RopeScaling& other) const;
};

// Yarn's attention_factor where none is stated: 0.1 share ln(factor) + 1
// (2309.00071, equation 22), 1 for a factor of 1.
double yarn_attention_factor(double factor, double share = 1);

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
  bool gated = false;  // act(gate x) * (up x), else act(up x)
  // A feed-forward of this width beside the experts, for every token, times
  // sigmoid(gate x) (Qwen2-MoE); 0: none.
  int64_t shared_expert_intermediate_size = 0;
  // The chosen experts' probabilities are divided by their sum.
  bool norm_topk_prob = true;
  // Experts are chosen by probability plus a bias of each expert, which is no
  // part of the gate's value (2408.15664).
  bool selection_bias = false;
  bool qkv_bias = false;
  bool o_bias = false;
  bool mlp_bias = false;
  QkNorm qk_norm = QkNorm::kNone;
  NormPlacement norm_placement = NormPlacement::kPre;
  NormType norm_type = NormType::kRms;
  // x + attention(norm(x)) + feed_forward(norm'(x)): both read the same x.
  bool parallel_residual = false;
  // q, k and v are one tensor, [H, 3, head_dim] of produced entries (GPT-NeoX).
  bool fused_qkv = false;
  bool tie_word_embeddings = true;
  double logit_multiplier = 1;  // of the head's output
  double rms_norm_eps = 1e-5;   // of norms of either type
  double rope_theta = 10000;
  double partial_rotary_factor = 1;  // the share of a head that is turned
  RopeScaling rope_scaling;
  int64_t max_position_embeddings = 2048;
  double initializer_range = 0.02;

  bool is_mixture() const { return num_experts > 0; }
  bool has_shared_expert() const { return shared_expert_intermediate_size > 0; }
  // The first entries of a head, which rotary positions turn.
  int64_t rotary_dim() const {
    return static_cast<int64_t>(static_cast<double>(head_dim) *
                                partial_rotary_factor);
  }
  bool operator==(const ModelConfig&) const = default;
};

// Throws UserError naming the first field that cannot be.
void validate(const ModelConfig& config);

// A Hugging Face config.json object and back: of the family that the shape
// belongs to (family.h), in the words of transformers 4 and 5 both.
// `from_json` throws UserError, also for what is not computed here.
Json to_json(const ModelConfig& config);
ModelConfig model_config_from_json(const Json& json);

// "llama", "mixtral", ...; "annuli" and "annuli_moe" where transformers has no
// class for the shape.
std::string model_type(const ModelConfig& config);

}  // namespace annuli
