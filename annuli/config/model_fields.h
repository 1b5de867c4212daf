#pragma once

#include "annuli/config/family.h"
#include "annuli/config/model_config.h"

// The fields of ModelConfig, listed once for whoever walks all of them: reading
// and writing config.json (and with it `inspect` and the Python reference,
// which read what is written), the audit of settings, the recognition of a
// growth.
namespace annuli {

enum class FieldKind {
  kShape,    // of the tensor table: growth changes it
  kSetting,  // read by a forward pass beside the weights
  kUnread,   // by a forward pass
};

struct ModelField {
  const char* name;
  FieldKind kind;
  // A later field: our own families state it, and verdicts count it, only where
  // it is not the default, so that what was written before there was such a
  // field keeps its bytes.
  bool stated_if_set = false;
};

// How a family states a field in config.json, beside a pointer to a member of
// Family that holds its key or its Switch.
struct UnderItsName {};
// By a function of model_config_json.cpp or rope_json.cpp: the class forms it
// of others, divides by it, or has it in mixtures alone.
struct ByItself {};

// visit(field, member, stated): `member` is a pointer to a member of
// ModelConfig, `stated` says how config.json has it.
void visit_model_fields(auto&& visit) {
  using C = ModelConfig;
  using F = Family;
  using enum FieldKind;
  constexpr UnderItsName kNamed;
  constexpr ByItself kOwn;
  const auto add = [&](ModelField field, auto member, auto stated) {
    visit(field, member, stated);
  };
  add({"vocab_size", kShape}, &C::vocab_size, kNamed);
  add({"hidden_size", kShape}, &C::hidden_size, kNamed);
  add({"intermediate_size", kShape}, &C::intermediate_size, kNamed);
  add({"num_hidden_layers", kShape}, &C::num_hidden_layers, kNamed);
  add({"num_attention_heads", kShape}, &C::num_attention_heads, kNamed);
  add({"num_key_value_heads", kShape}, &C::num_key_value_heads, kOwn);
  add({"head_dim", kShape}, &C::head_dim, kOwn);
  add({"num_experts", kShape}, &C::num_experts, kOwn);
  add({"num_experts_per_tok", kShape}, &C::num_experts_per_tok, kOwn);
  add({"norm_topk_prob", kSetting}, &C::norm_topk_prob, &F::norm_topk_prob);
  add({"selection_bias", kShape, true}, &C::selection_bias, kOwn);
  add({"shared_expert_intermediate_size", kShape},
      &C::shared_expert_intermediate_size, &F::shared_expert_width);
  add({"hidden_act", kSetting}, &C::hidden_act, kNamed);
  add({"gated", kShape}, &C::gated, &F::gated);
  add({"qkv_bias", kShape}, &C::qkv_bias, &F::qkv_bias);
  add({"o_bias", kShape}, &C::o_bias, &F::o_bias);
  add({"mlp_bias", kShape}, &C::mlp_bias, &F::mlp_bias);
  add({"qk_norm", kShape}, &C::qk_norm, &F::qk_norm);
  add({"norm_placement", kSetting}, &C::norm_placement, &F::norm_placement);
  add({"norm_type", kShape, true}, &C::norm_type, &F::norm_type);
  add({"parallel_residual", kSetting, true}, &C::parallel_residual,
      &F::parallel_residual);
  add({"fused_qkv", kShape, true}, &C::fused_qkv, &F::fused_qkv);
  add({"tie_word_embeddings", kShape}, &C::tie_word_embeddings, kNamed);
  add({"logit_multiplier", kSetting}, &C::logit_multiplier, kOwn);
  add({"rms_norm_eps", kSetting}, &C::rms_norm_eps, &F::norm_eps_key);
  add({"rope_theta", kSetting}, &C::rope_theta, kOwn);
  add({"partial_rotary_factor", kSetting, true}, &C::partial_rotary_factor,
      kOwn);
  add({"rope_scaling", kSetting}, &C::rope_scaling, kOwn);
  add({"max_position_embeddings", kSetting}, &C::max_position_embeddings,
      kNamed);
  add({"initializer_range", kUnread}, &C::initializer_range, kNamed);
}

}  // namespace annuli
