#include "annuli/config/check_growth.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>

#include "annuli/config/growth_fields.h"
#include "annuli/config/model_from.h"

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

void follow_step(const Complain& complain, const std::string& key,
                 const GrowthStep& step, ModelConfig& config) {
  if (const int found = count_operators(step); found != 1) {
    std::vector<std::string> names;
    visit_operators(
        [&](const Field& field, const auto&) { names.push_back(field.name); },
        step);
    complain(key, fmt::format("found {} operators, expected exactly one of {}",
                              found, fmt::join(names, ", ")));
  }
  if (step.merge_experts) {
    complain(key + ".merge_experts",
             "found it in a training run, which has one parent; expected "
             "`annuli grow merge-experts` before the run");
  }
  config = grown_shape(
      config, step, [&](const std::string& field, const std::string& problem) {
        complain(key + "." + field, problem);
      });
  check_config(complain, key, config);
}

void follow_growth(const Complain& complain, const std::string& key,
                   const GrowPlan& grow, ModelConfig& config) {
  if (grow.chain.empty()) return follow_step(complain, key, grow, config);
  if (const int found = count_operators(grow); found != 0) {
    complain(key, fmt::format("found {} operators beside a chain, expected "
                              "them in it",
                              found));
  }
  for (size_t i = 0; i < grow.chain.size(); ++i) {
    follow_step(complain, fmt::format("{}.chain.{}", key, i), grow.chain[i],
                config);
  }
}

void check_numbers(const Complain& complain, const std::string& key,
                   const std::vector<int64_t>& numbers, int64_t count,
                   const char* what) {
  for (const int64_t number : numbers) {
    if (number < count) continue;
    complain(key, fmt::format("found {}, expected a number below {}, the {} of "
                              "the phase's model",
                              number, count, what));
  }
}

// Codes of frozen entries stay only where no other entry shares their scale.
void check_freeze(const Complain& complain, const std::string& key,
                  Precision precision, const PhasePlan& phase,
                  const std::optional<ModelConfig>& config) {
  if (!phase.train.freeze) return;
  const FreezePlan& freeze = *phase.train.freeze;
  if (!freeze.parent && freeze.parts.empty() && freeze.layers.empty() &&
      freeze.experts.empty()) {
    complain(key, "found nothing, expected parent, parts, layers or experts");
  }
  if (freeze.parent && !phase.grow) {
    complain(key + ".parent",
             "found it in a phase without growth, expected parts or layers");
  }
  if (freeze.parent && precision == Precision::kInt8Weights) {
    complain(key + ".parent",
             "found it with precision int8-weights, which rounds whole blocks "
             "of a tensor; expected parts, layers or experts");
  }
  if (phase.train.max_steps > 0 &&
      freeze.unfreeze_after.value_or(0) > phase.train.max_steps) {
    complain(key + ".unfreeze_after",
             fmt::format("found {}, expected at most max_steps, {}",
                         *freeze.unfreeze_after, phase.train.max_steps));
  }
  if (!config) return;
  check_numbers(complain, key + ".layers", freeze.layers,
                config->num_hidden_layers, "layers");
  check_numbers(complain, key + ".experts", freeze.experts, config->num_experts,
                "experts");
}

// An update of bf16 weights is rounded at random, once: a share of it would be
// rounded once more.
void check_rewarm(const Complain& complain, const std::string& key,
                  const Plan& plan, const PhasePlan& phase) {
  if (phase.train.rewarm_of == RewarmOf::kAll) return;
  if (!phase.grow) {
    complain(key, "found new in a phase without growth, expected all");
  }
  if (phase.train.rewarm_steps == 0) {
    complain(key, "found new without rewarm_steps, expected both");
  }
  if (plan.precision == Precision::kBf16 ||
      plan.precision == Precision::kInt8Weights) {
    complain(key, fmt::format("found new with precision {}, expected fp32, "
                              "fp64 or bf16-mixed",
                              word_of(plan.precision)));
  }
}

// Whether the phase closes copies of experts.
bool closes_copies(const PhasePlan& phase) {
  const auto closes = [](const GrowthStep& step) {
    return step.expand_experts && step.expand_experts->selection_bias;
  };
  return phase.grow && (closes(*phase.grow) ||
                        std::ranges::any_of(phase.grow->chain, closes));
}

void check_selection_rate(const Complain& complain, const std::string& key,
                          const PhasePlan& phase,
                          const std::optional<ModelConfig>& config) {
  const double rate = phase.train.selection_bias_rate;
  if (rate > 0 && config && !config->selection_bias) {
    complain(key, fmt::format("found {}, but the phase's model has no "
                              "selection biases; expected 0, or "
                              "selection_bias: true where its experts are made",
                              rate));
  }
  if (rate == 0 && closes_copies(phase)) {
    complain(key,
             "found 0 beside expand_experts.selection_bias, whose copies no "
             "token would ever choose; expected a rate, for example 0.001");
  }
}

void check_length(const Complain& complain, const std::string& key,
                  const PhasePlan& phase, int64_t longest) {
  const int64_t length = phase.train.sequence_length.value_or(0);
  if (length <= longest) return;
  complain(key, fmt::format("found {}, expected at most the "
                            "max_position_embeddings of the phase's model, {}",
                            length, longest));
}

}  // namespace

void check_growth(const Complain& complain, const Plan& plan) {
  if (plan.model.from.empty()) check_model(complain, plan.model);
  const std::optional<ModelConfig> first = first_config(plan.model);
  const auto check_phase = [&](size_t i,
                               const std::optional<ModelConfig>& config) {
    const std::string train = fmt::format("phases.{}.train", i);
    check_freeze(complain, train + ".freeze", plan.precision, plan.phases[i],
                 config);
    check_selection_rate(complain, train + ".selection_bias_rate",
                         plan.phases[i], config);
    check_length(complain, train + ".sequence_length", plan.phases[i],
                 config ? config->max_position_embeddings
                        : plan.model.max_position_embeddings);
  };
  for (size_t i = 0; i < plan.phases.size(); ++i) {
    check_rewarm(complain, fmt::format("phases.{}.train.rewarm_of", i), plan,
                 plan.phases[i]);
  }
  if (!first) {  // a file: its growth is checked when it is opened
    for (size_t i = 0; i < plan.phases.size(); ++i) check_phase(i, {});
    return;
  }
  ModelConfig config = *first;
  check_config(complain, "model", config);
  for (size_t i = 0; i < plan.phases.size(); ++i) {
    const auto& grow = plan.phases[i].grow;
    const std::string key = fmt::format("phases.{}.grow", i);
    if (grow && i == 0 && plan.model.from.empty()) {
      complain(key,
               "found an operator in the first phase, which has no "
               "parent; expected training only, or model.from");
    }
    if (grow) follow_growth(complain, key, *grow, config);
    check_phase(i, config);
  }
}

}  // namespace annuli
