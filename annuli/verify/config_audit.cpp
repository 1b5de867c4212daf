#include "annuli/verify/config_audit.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "annuli/config/field.h"
#include "annuli/config/grown_shape.h"
#include "annuli/config/model_fields.h"
#include "annuli/config/rope_json.h"
#include "annuli/core/json.h"
#include "annuli/grow/arguments.h"
#include "annuli/verify/axis_layout.h"
#include "annuli/verify/layer_pairs.h"
#include "annuli/verify/selection_audit.h"

namespace annuli::verify {
namespace {

// A field as it is reported.
template <typename T>
Json shown(const T& value) {
  if constexpr (std::is_enum_v<T>) {
    return word_of(value);
  } else if constexpr (std::is_same_v<T, RopeScaling>) {
    return scaling_json(value);
  } else {
    return value;
  }
}

struct Reported {
  const char* name;
  Json value;
  bool counts = true;
};

// Everything that a forward pass reads.
std::vector<Reported> reported(const ModelConfig& config) {
  std::vector<Reported> all = {{"model_type", model_type(config)}};
  visit_model_fields(
      [&](const ModelField& field, auto member, auto /*stated*/) {
        if (field.kind == FieldKind::kUnread) return;
        const bool is_set = config.*member != ModelConfig{}.*member;
        all.push_back({field.name, shown(config.*member),
                       is_set || !field.stated_if_set});
      });
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
    config.selection_bias = child.selection_bias;
  } else if (config.is_mixture()) {
    config.num_experts = axis_growth(recipe, Axis::kExpert).child;
    const int64_t copies = config.num_experts / recipe.parent.num_experts;
    // Biases may come with copies, of which they may close some.
    if (copies > 1) {
      config.selection_bias = config.selection_bias || child.selection_bias;
    }
    config.num_experts_per_tok *=
        child.selection_bias ? open_copies(recipe) : copies;
    if (!recipe.exact) config.num_experts_per_tok = child.num_experts_per_tok;
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

// What the methods that the recipe states make of the parent's positions.
void imply_positions(const grow::Recipe& recipe, ModelConfig& config) {
  for (const ExtendPlan& plan :
       grow::extensions_of(recipe.op, recipe.arguments)) {
    config = grown_shape(config, {.extend = plan}, complain_of_growth);
  }
}

}  // namespace

ModelConfig implied_config(const grow::Recipe& recipe) {
  ModelConfig config = recipe.parent;
  imply_positions(recipe, config);
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
  const std::vector<Reported> ours = reported(found);
  const std::vector<Reported> theirs = reported(expected);
  for (size_t i = 0; i < ours.size(); ++i) {
    const Json& a = ours[i].value;
    const Json& b = theirs[i].value;
    if (!is_equal(a, b)) {
      differences.push_back({ours[i].name, a.dump(), b.dump()});
    }
  }
  return differences;
}

Verdict config_audit(const grow::Recipe& recipe, const ModelConfig& child) {
  const auto differences = config_differences(child, implied_config(recipe));
  Verdict verdict = at_most(
      "config_audit",
      fmt::format("settings that differ, of {}",
                  std::ranges::count(reported(child), true, &Reported::counts)),
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
