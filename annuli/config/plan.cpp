#include "annuli/config/plan.h"

#include <algorithm>

#include "annuli/config/check_plan.h"
#include "annuli/config/family.h"
#include "annuli/config/model_from.h"
#include "annuli/config/read_plan.h"
#include "annuli/config/yaml_tree.h"
#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/core/quote.h"

namespace annuli {
namespace {

// The place of the deepest part of `key` that the file or a --set wrote.
std::string place_of(const YamlTree& tree, const std::string& key) {
  const YamlTree* node = &tree;
  size_t start = 0;
  while (start < key.size()) {
    const size_t dot = std::min(key.find('.', start), key.size());
    const std::string step = key.substr(start, dot - start);
    const YamlTree* next = node->kind == YamlTree::Kind::kList
                               ? &node->entries.at(std::stoul(step)).node
                               : node->find(step);
    if (next == nullptr) break;
    node = next;
    start = dot + 1;
  }
  return node->place;
}

// Fills in what follows from other fields.
void resolve(Plan& plan) {
  if (plan.output_dir.empty()) plan.output_dir = "runs/" + plan.name;
  bool random_router = false;
  const auto follow = [&](const GrowthStep& step) {
    if (step.upcycle) random_router = step.upcycle->router != RouterInit::kZero;
    if (step.merge_experts) {
      random_router = step.merge_experts->router != RouterInit::kZero;
    }
  };
  for (PhasePlan& phase : plan.phases) {
    if (phase.checkpoint.empty()) phase.checkpoint = phase.name + ".pt";
    if (phase.grow) {
      follow(*phase.grow);
      for (const GrowthStep& step : phase.grow->chain) follow(step);
    }
    auto& projection = phase.train.router_mean_projection;
    if (!projection) projection = random_router;
  }
}

// The plan's fields as they are, all else as the family's class has it.
ModelConfig of_family(const ModelPlan& model, const ModelConfig& sizes) {
  const Family& family = find_family(model.family);
  const auto complain = [&](const char* field, const auto& found,
                            std::string_view expected) {
    user_error(
        "making the model: model.{}: found {}, expected {} for family {}",
        field, found, expected, quote(model.family));
  };
  if (family.mixture != sizes.is_mixture()) {
    complain("num_experts", sizes.num_experts,
             family.mixture ? "2 or more" : "0");
  }
  Json json = family.attributes;
  const Json stated = write_shape(family, sizes);
  for (const char* key :
       {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
        "num_attention_heads", "num_key_value_heads", "head_dim", "hidden_act",
        "num_experts_per_tok", "selection_bias", "tie_word_embeddings",
        "max_position_embeddings", "initializer_range", family.norm_eps_key,
        family.rope_theta_key, family.num_experts_key,
        family.expert_width_key}) {
    if (stated.contains(key)) json[key] = stated.at(key);
  }
  const ModelConfig config = read_shape(family, json);
  if (sizes.gated && !config.gated) complain("gated", true, "false");
  if (sizes.qk_norm != QkNorm::kNone && config.qk_norm != sizes.qk_norm) {
    complain("qk_norm", true, "false");
  }
  if (sizes.selection_bias && !config.selection_bias) {
    complain("selection_bias", true, "false");
  }
  if (sizes.head_dim != config.head_dim) {
    complain("head_dim", sizes.head_dim, std::to_string(config.head_dim));
  }
  if (sizes.num_key_value_heads != config.num_key_value_heads) {
    complain("num_key_value_heads", sizes.num_key_value_heads,
             std::to_string(config.num_key_value_heads));
  }
  return config;
}

}  // namespace

Plan load_plan(const std::filesystem::path& path,
               const std::vector<std::string>& overrides) {
  return parse_plan(read_file(path), path.string(), overrides);
}

Plan parse_plan(std::string_view yaml, const std::string& source,
                const std::vector<std::string>& overrides) {
  YamlTree tree = parse_yaml(yaml, one_line(source));
  for (const auto& assignment : overrides) apply_override(tree, assignment);
  return plan_of(tree);
}

Plan plan_of(const YamlTree& tree) {
  Plan plan = read_plan(tree);
  follow_model_from(plan, tree);
  resolve(plan);
  check_plan(plan, [&](const std::string& key) {
    return "reading " + place_of(tree, key);
  });
  return plan;
}

void check(const Plan& plan) {
  check_plan(plan, [](const std::string&) { return "checking the plan"; });
}

ModelConfig model_config(const ModelPlan& model, int64_t tokenizer_vocab_size) {
  if (model.vocab_size.value_or(tokenizer_vocab_size) < tokenizer_vocab_size) {
    user_error(
        "making the model: found vocab_size {}, expected at least the "
        "tokenizer's, {}",
        *model.vocab_size, tokenizer_vocab_size);
  }
  ModelConfig config;
  config.vocab_size = model.vocab_size.value_or(tokenizer_vocab_size);
  config.hidden_size = model.hidden_size;
  config.intermediate_size = model.intermediate_size;
  config.num_hidden_layers = model.num_hidden_layers;
  config.num_attention_heads = model.num_attention_heads;
  config.num_key_value_heads =
      model.num_key_value_heads.value_or(model.num_attention_heads);
  config.head_dim =
      model.head_dim.value_or(model.hidden_size / model.num_attention_heads);
  config.num_experts = model.num_experts;
  config.num_experts_per_tok = model.num_experts_per_tok;
  config.selection_bias = model.selection_bias;
  config.hidden_act = model.hidden_act;
  config.gated = model.gated;
  config.qk_norm = model.qk_norm ? QkNorm::kHead : QkNorm::kNone;
  config.tie_word_embeddings = model.tie_word_embeddings;
  config.rms_norm_eps = model.rms_norm_eps;
  config.rope_theta = model.rope_theta;
  config.max_position_embeddings = model.max_position_embeddings;
  config.initializer_range = model.initializer_range;
  return model.family.empty() ? config : of_family(model, config);
}

}  // namespace annuli
