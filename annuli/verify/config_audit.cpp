#include "annuli/verify/config_audit.h"

#include <fmt/core.h>

#include <cmath>
#include <functional>

#include "annuli/config/field.h"
#include "annuli/core/json.h"
#include "annuli/verify/axis_layout.h"
#include "annuli/verify/layer_pairs.h"

namespace annuli::verify {
namespace {

struct Field {
  const char* name;
  std::function<Json(const ModelConfig&)> value;
};

Json scaling_json(const RopeScaling& scaling) {
  switch (scaling.type) {
    case RopeScaling::Type::kDefault:
      return "default";
    case RopeScaling::Type::kLinear:
      return {{"type", "linear"}, {"factor", scaling.factor}};
    case RopeScaling::Type::kLlama3:
      return {{"type", "llama3"},
              {"factor", scaling.factor},
              {"low_freq_factor", scaling.low_freq_factor},
              {"high_freq_factor", scaling.high_freq_factor},
              {"original_max_position_embeddings",
               scaling.original_max_position_embeddings}};
  }
  return {};
}

const char* qk_norm_name(QkNorm norm) {
  switch (norm) {
    case QkNorm::kNone:
      return "none";
    case QkNorm::kHead:
      return "per head";
    case QkNorm::kFull:
      return "full width";
  }
  return "?";
}

// Everything that a forward pass reads.
const std::vector<Field>& fields() {
  using C = const ModelConfig&;
  static const std::vector<Field> all = {
      {"model_type", [](C c) { return model_type(c); }},
      {"vocab_size", [](C c) { return c.vocab_size; }},
      {"hidden_size", [](C c) { return c.hidden_size; }},
      {"intermediate_size", [](C c) { return c.intermediate_size; }},
      {"num_hidden_layers", [](C c) { return c.num_hidden_layers; }},
      {"num_attention_heads", [](C c) { return c.num_attention_heads; }},
      {"num_key_value_heads", [](C c) { return c.num_key_value_heads; }},
      {"head_dim", [](C c) { return c.head_dim; }},
      {"num_experts", [](C c) { return c.num_experts; }},
      {"num_experts_per_tok", [](C c) { return c.num_experts_per_tok; }},
      {"norm_topk_prob", [](C c) { return c.norm_topk_prob; }},
      {"shared_expert_intermediate_size",
       [](C c) { return c.shared_expert_intermediate_size; }},
      {"hidden_act", [](C c) { return word_of(c.hidden_act); }},
      {"gated", [](C c) { return c.gated; }},
      {"qkv_bias", [](C c) { return c.qkv_bias; }},
      {"o_bias", [](C c) { return c.o_bias; }},
      {"mlp_bias", [](C c) { return c.mlp_bias; }},
      {"qk_norm", [](C c) { return qk_norm_name(c.qk_norm); }},
      {"post-norm",
       [](C c) { return c.norm_placement == NormPlacement::kPost; }},
      {"tie_word_embeddings", [](C c) { return c.tie_word_embeddings; }},
      {"logit_multiplier", [](C c) { return c.logit_multiplier; }},
      {"rms_norm_eps", [](C c) { return c.rms_norm_eps; }},
      {"rope_theta", [](C c) { return c.rope_theta; }},
      {"rope_scaling", [](C c) { return scaling_json(c.rope_scaling); }},
      {"max_position_embeddings",
       [](C c) { return c.max_position_embeddings; }},
  };
  return all;
}

// A product of a few factors may be rounded in another order: 8 roundings.
bool is_equal(const Json& a, const Json& b) {
  if (!a.is_number_float() || !b.is_number_float()) return a == b;
  const double x = a.get<double>();
  const double y = b.get<double>();
  return std::abs(x - y) <= 8 * 0x1p-53 * std::abs(y);
}

void imply_experts(const grow::Recipe& recipe, ModelConfig& config) {
  const ModelConfig& child = recipe.child;
  if (is_upcycle(recipe)) {
    config.num_experts = child.num_experts;
    config.num_experts_per_tok = child.num_experts_per_tok;
    config.intermediate_size = child.intermediate_size;
    config.shared_expert_intermediate_size =
        child.shared_expert_intermediate_size;
    config.norm_topk_prob = true;
  } else if (config.is_mixture()) {
    config.num_experts = axis_growth(recipe, Axis::kExpert).child;
    const int64_t k = config.num_experts_per_tok;
    config.num_experts_per_tok =
        recipe.exact ? k * config.num_experts / recipe.parent.num_experts
                     : child.num_experts_per_tok;
  }
}

void imply_head(const grow::Recipe& recipe, ModelConfig& config) {
  if (!config.tie_word_embeddings) return;
  config.tie_word_embeddings = recipe.child.tie_word_embeddings;
  if (!config.tie_word_embeddings) return;
  const double divided =
      config.logit_multiplier / axis_growth(recipe, Axis::kResidual).copies();
  if (is_equal(recipe.child.logit_multiplier, divided)) {
    config.logit_multiplier = divided;
  }
}

}  // namespace

ModelConfig implied_config(const grow::Recipe& recipe) {
  ModelConfig config = recipe.parent;
  const auto size = [&](Axis axis) { return axis_growth(recipe, axis).child; };
  config.hidden_size = size(Axis::kResidual);
  config.num_attention_heads = size(Axis::kHead);
  config.num_key_value_heads = size(Axis::kKvHead);
  config.intermediate_size = size(Axis::kFfn);
  config.shared_expert_intermediate_size = size(Axis::kSharedFfn);
  config.num_hidden_layers = static_cast<int64_t>(recipe.layer_map.size());
  config.rms_norm_eps *= axis_growth(recipe, Axis::kResidual).kept_share();
  imply_experts(recipe, config);
  imply_head(recipe, config);
  return config;
}

std::vector<ConfigDifference> config_differences(const ModelConfig& found,
                                                 const ModelConfig& expected) {
  std::vector<ConfigDifference> differences;
  for (const Field& field : fields()) {
    const Json a = field.value(found);
    const Json b = field.value(expected);
    if (!is_equal(a, b))
      differences.push_back({field.name, a.dump(), b.dump()});
  }
  return differences;
}

Verdict config_audit(const grow::Recipe& recipe, const ModelConfig& child) {
  const auto differences = config_differences(child, implied_config(recipe));
  Verdict verdict =
      at_most("config_audit",
              fmt::format("settings that differ, of {}", fields().size()),
              static_cast<double>(differences.size()), 0);
  for (const ConfigDifference& difference : differences) {
    if (!verdict.note.empty()) verdict.note += "; ";
    verdict.note += fmt::format("{} is {}, expected {}", difference.field,
                                difference.found, difference.expected);
  }
  if (!differences.empty()) verdict.tensor = "config.json";
  return verdict;
}

}  // namespace annuli::verify
