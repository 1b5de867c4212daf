#pragma once

#include <string_view>

#include "annuli/config/model_config.h"

// The fields of ModelConfig, listed once for whoever walks all of them: the
// audit of settings, the recognition of a growth. (Their words in config.json
// are each family's own; see family.h.)
namespace annuli {

enum class FieldKind {
  kShape,    // of the tensor table: growth changes it
  kSetting,  // read by a forward pass beside the weights
  kUnread,   // by a forward pass
};

// visit(name, kind, member), `member` a pointer to a member of ModelConfig.
void visit_model_fields(auto&& visit) {
  using C = ModelConfig;
  using enum FieldKind;
  visit("vocab_size", kShape, &C::vocab_size);
  visit("hidden_size", kShape, &C::hidden_size);
  visit("intermediate_size", kShape, &C::intermediate_size);
  visit("num_hidden_layers", kShape, &C::num_hidden_layers);
  visit("num_attention_heads", kShape, &C::num_attention_heads);
  visit("num_key_value_heads", kShape, &C::num_key_value_heads);
  visit("head_dim", kShape, &C::head_dim);
  visit("num_experts", kShape, &C::num_experts);
  visit("num_experts_per_tok", kShape, &C::num_experts_per_tok);
  visit("norm_topk_prob", kSetting, &C::norm_topk_prob);
  visit("shared_expert_intermediate_size", kShape,
        &C::shared_expert_intermediate_size);
  visit("hidden_act", kSetting, &C::hidden_act);
  visit("gated", kShape, &C::gated);
  visit("qkv_bias", kShape, &C::qkv_bias);
  visit("o_bias", kShape, &C::o_bias);
  visit("mlp_bias", kShape, &C::mlp_bias);
  visit("qk_norm", kShape, &C::qk_norm);
  visit("norm_placement", kSetting, &C::norm_placement);
  visit("norm_type", kShape, &C::norm_type);
  visit("parallel_residual", kSetting, &C::parallel_residual);
  visit("fused_qkv", kShape, &C::fused_qkv);
  visit("tie_word_embeddings", kShape, &C::tie_word_embeddings);
  visit("logit_multiplier", kSetting, &C::logit_multiplier);
  visit("rms_norm_eps", kSetting, &C::rms_norm_eps);
  visit("rope_theta", kSetting, &C::rope_theta);
  visit("partial_rotary_factor", kSetting, &C::partial_rotary_factor);
  visit("rope_scaling", kSetting, &C::rope_scaling);
  visit("max_position_embeddings", kSetting, &C::max_position_embeddings);
  visit("initializer_range", kUnread, &C::initializer_range);
}

// Switches that config.json states, and verdicts count, only where they are
// set: what was written before there were such switches keeps its bytes.
inline constexpr std::string_view kStatedIfSet[] = {
    "norm_type", "parallel_residual", "fused_qkv", "partial_rotary_factor"};

}  // namespace annuli
