#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "annuli/config/model_config.h"
#include "annuli/core/json.h"

// A family of models: what one class of transformers fixes, what its
// config.json says instead, and how it names its tensors.
//
// Each family is one table in families/NAME.def and one line in families.cpp;
// reading and writing config.json, the tensor table and the checkpoints follow
// from there. A family that needs a computation that no other has also needs a
// field of ModelConfig and the computation.
namespace annuli {

// What a class fixes; or, where `key` is given, what config.json states under
// that key, by default what `attributes` says. Two switches may share a key.
template <typename T>
struct Switch {
  T value{};
  const char* key = nullptr;
};

// In which layers attention is limited to the last `sliding_window` tokens; see
// sliding_window.h.
enum class SlidingWindow {
  kNever,        // the class has no such key
  kWhenSet,      // in every layer, where `sliding_window` is not null
  kWhenAsked,    // and where `use_sliding_window` is true as well
  kUpperLayers,  // so, but in the layers from `max_window_layers` on
  kEvenLayers,   // so, but in layers 0, 2, ... below `max_window_layers`
};

// Without ".weight" and ".bias". Those below the line follow the layer's
// prefix, "model.layers.3."; gate, up and down follow mlp, an expert's prefix
// ("experts.5") or shared_expert.
struct TensorNames {
  std::string_view embedding = "model.embed_tokens";
  std::string_view layers = "model.layers";
  std::string_view final_norm = "model.norm";
  std::string_view head = "lm_head";
  // ---
  std::string_view input_norm = "input_layernorm";
  std::string_view post_norm = "post_attention_layernorm";
  std::string_view attention_out_norm = "post_attention_layernorm";
  std::string_view feed_forward_out_norm = "post_feedforward_layernorm";
  std::string_view q = "self_attn.q_proj";
  std::string_view k = "self_attn.k_proj";
  std::string_view v = "self_attn.v_proj";
  std::string_view o = "self_attn.o_proj";
  std::string_view qkv = "self_attn.query_key_value";  // where they are one
  std::string_view q_norm = "self_attn.q_norm";
  std::string_view k_norm = "self_attn.k_norm";
  std::string_view mlp = "mlp";
  std::string_view mixture = "mlp";  // holds router, experts, shared expert
  std::string_view router = "gate";
  // Whole: neither a weight nor a bias of a layer.
  std::string_view selection_bias = "gate.e_score_correction_bias";
  std::string_view shared_expert = "shared_expert";
  std::string_view shared_gate = "shared_expert_gate";
  std::string_view gate = "gate_proj";
  std::string_view up = "up_proj";
  std::string_view down = "down_proj";
  bool operator==(const TensorNames&) const = default;
};

struct Family {
  const char* model_type;
  const char* architecture;
  bool mixture = false;
  Switch<bool> gated = {true};
  Switch<QkNorm> qk_norm = {QkNorm::kNone};
  Switch<NormPlacement> norm_placement = {NormPlacement::kPre};
  Switch<NormType> norm_type = {NormType::kRms};
  Switch<bool> parallel_residual = {false};
  Switch<bool> fused_qkv = {false};
  Switch<bool> qkv_bias = {false};
  Switch<bool> o_bias = {false};
  Switch<bool> mlp_bias = {false};
  // Of mixtures.
  const char* num_experts_key = "num_experts";
  const char* num_experts_alias = nullptr;  // another word of the class for it
  bool writes_alias = false;                // another version knows only that
  const char* expert_width_key = "moe_intermediate_size";
  Switch<bool> norm_topk_prob = {true};
  Switch<int64_t> shared_expert_width = {0};
  // The logits are multiplied by the one, or divided by the other.
  const char* logit_multiplier_key = nullptr;
  const char* logit_divisor_key = nullptr;
  // A key whose value must be 1 / sqrt(head_dim); 1 where it is absent.
  const char* attention_scale_key = nullptr;
  const char* norm_eps_key = "rms_norm_eps";
  // head_dim is hidden_size / heads, each head has keys and values of its own,
  // and the class states neither.
  bool plain_heads = false;
  // Rotary positions: keys beside `rope_parameters`, and what is meant where
  // neither says it. Without a key for the share all of a head is turned.
  const char* rope_theta_key = "rope_theta";
  double default_rope_theta = 10000;
  const char* partial_rotary_key = nullptr;
  double default_partial_rotary = 1;
  SlidingWindow sliding_window = SlidingWindow::kNever;
  // Keys of this family alone that must be absent, null or of this value.
  std::vector<std::pair<const char*, Json>> neutral_keys = {};
  // Every attribute of the class with its default, in the words of config.json:
  // what a key means that is absent. Null: none, or what the class forms from
  // the others.
  Json attributes = {};
  // Attributes with another default for which null may be stated.
  std::vector<std::string_view> nullable = {};
  TensorNames names = {};

  bool has(std::string_view attribute) const;
  // Whether null is a value of this key, stated or by default; of keys that the
  // class does not know it always is.
  bool takes_null(std::string_view key) const;
  // Whether transformers has this class; it has none for our own.
  bool is_ours() const;
};

// In the order of preference: a shape belongs to the first that expresses it.
const std::vector<Family>& families();

// UserError, which lists the known ones.
const Family& find_family(std::string_view model_type);

// Whether the family's config.json can state this shape.
bool expresses(const Family& family, const ModelConfig& config);
const Family& family_of(const ModelConfig& config);

// What the class makes of a config.json: its keys, and the defaults of those
// that are absent.
Json with_defaults(const Family& family, const Json& json);

// The shape that the family's config.json states, and the other way round;
// `read_shape` does not look at what the shape cannot hold.
ModelConfig read_shape(const Family& family, const Json& json);
Json write_shape(const Family& family, const ModelConfig& config);

// UserError for keys that change the function and are not computed here. `json`
// has its defaults.
void refuse_unsupported(const Family& family, const Json& json,
                        const ModelConfig& config);

}  // namespace annuli
