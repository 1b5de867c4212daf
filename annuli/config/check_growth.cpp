#include "annuli/config/check_growth.h"

#include <optional>

#include "annuli/config/model_from.h"

#include <algorithm>

namespace annuli {
namespace {

void check_model(const Complain& complain, const ModelPlan& model) {
  if (!model.head_dim && model.hidden_size % model.num_attention_heads != 0) {
    complain("model.num_attention_heads",
             fmt::format("found {}, which does not divide hidden_size {}; "
                         "expected a divisor, or head_dim",
                         model.num_attention_heads, model.hidden_size));
  }
  const int64_t kv_heads =
      model.num_key_value_heads.value_or(model.num_attention_heads);
  if (model.num_attention_heads % kv_heads != 0) {
    complain("model.num_key_value_heads",
             fmt::format("found {}, expected a divisor of num_attention_heads "
                         "{}",
                         kv_heads, model.num_attention_heads));
  }
}

// What `validate` finds, put at the phase's place.
void check_config(const Complain& complain, const std::string& key,
                  const ModelConfig& config) {
  try {
    validate(config);
  } catch (const UserError& error) {
    complain(key, error.what());
  }
}

void follow_upcycle(const Complain& complain, const std::string& key,
                    const UpcyclePlan& upcycle, ModelConfig& config) {
  if (config.is_mixture()) {
    complain(key, fmt::format("found a parent with {} experts, expected a "
                              "dense one",
                              config.num_experts));
  }
  if (upcycle.num_experts_per_tok > upcycle.num_experts) {
    complain(key + ".num_experts_per_tok",
             fmt::format("found {}, expected at most num_experts, {}",
                         upcycle.num_experts_per_tok, upcycle.num_experts));
  }
  config.num_experts = upcycle.num_experts;
  config.num_experts_per_tok = upcycle.num_experts_per_tok;
}

void follow_widen(const Complain& complain, const std::string& key,
                  const WidenPlan& widen, ModelConfig& config) {
  if (widen.head == WidenHead::kFold && !config.tie_word_embeddings) {
    complain(key + ".head",
             "found fold, but the parent's head is its own "
             "already; expected untie");
  }
  config.hidden_size *= widen.factor;
  config.intermediate_size *= widen.factor;
  config.num_attention_heads *= widen.factor;
  config.num_key_value_heads *= widen.factor;
  if (widen.head == WidenHead::kUntie) config.tie_word_embeddings = false;
}

// Every parent layer has a place, and first places keep the parent's order:
// otherwise the child is not the parent with layers added.
void check_layer_map(const Complain& complain, const std::string& key,
                     const std::vector<int64_t>& map, int64_t layers) {
  int64_t next = 0;  // the parent layer that comes first from here on
  for (const int64_t layer : map) {
    if (layer >= layers) {
      complain(key, fmt::format("found layer {}, expected 0 to {}, the "
                                "parent's layers",
                                layer, layers - 1));
    }
    if (layer > next) {
      complain(key, fmt::format("found layer {} before any {}, expected first "
                                "uses in the parent's order",
                                layer, next));
    }
    if (layer == next) ++next;
  }
  if (next < layers) {
    complain(key, fmt::format("found no layer {}, expected each of the "
                              "parent's {} at least once",
                              next, layers));
  }
}

void follow_deepen(const Complain& complain, const std::string& key,
                   const DeepenPlan& deepen, ModelConfig& config) {
  if (deepen.layer_map.empty()) {
    config.num_hidden_layers += deepen.add_layers;
    return;
  }
  check_layer_map(complain, key + ".layer_map", deepen.layer_map,
                  config.num_hidden_layers);
  config.num_hidden_layers = static_cast<int64_t>(deepen.layer_map.size());
}

void follow_growth(const Complain& complain, const std::string& key,
                   const GrowPlan& grow, ModelConfig& config) {
  const int operators = int{grow.upcycle.has_value()} +
                        int{grow.widen.has_value()} +
                        int{grow.deepen.has_value()};
  if (operators != 1) {
    complain(key, fmt::format("found {} operators, expected exactly one of "
                              "upcycle, widen, deepen",
                              operators));
  }
  if (grow.upcycle) {
    follow_upcycle(complain, key + ".upcycle", *grow.upcycle, config);
  } else if (grow.widen) {
    follow_widen(complain, key + ".widen", *grow.widen, config);
  } else {
    follow_deepen(complain, key + ".deepen", *grow.deepen, config);
  }
}

}  // namespace

void check_growth(const Complain& complain, const Plan& plan) {
  if (plan.model.from.empty()) check_model(complain, plan.model);
  const std::optional<ModelConfig> first = first_config(plan.model);
  if (!first) return;  // a file: its growth is checked when it is opened
  ModelConfig config = *first;
  check_config(complain, "model", config);
  for (size_t i = 0; i < plan.phases.size(); ++i) {
    const auto& grow = plan.phases[i].grow;
    if (!grow) continue;
    const std::string key = fmt::format("phases.{}.grow", i);
    if (i == 0 && plan.model.from.empty()) {
      complain(key,
               "found an operator in the first phase, which has no "
               "parent; expected training only, or model.from");
    }
    follow_growth(complain, key, *grow, config);
    check_config(complain, key, config);
  }
}

}  // namespace annuli
