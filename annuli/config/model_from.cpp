#include "annuli/config/model_from.h"

#include <filesystem>
#include <system_error>

#include "annuli/config/model_path.h"
#include "annuli/config/plan_json.h"
#include "annuli/core/error.h"
#include "annuli/core/gguf_file.h"
#include "annuli/core/python_json.h"
#include "annuli/core/quote.h"
#include "annuli/core/tokenizer_place.h"

namespace annuli {
namespace {

namespace fs = std::filesystem;

bool is_folder(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

void set_sizes(const ModelConfig& config, ModelPlan& model) {
  model.vocab_size = config.vocab_size;
  model.hidden_size = config.hidden_size;
  model.intermediate_size = config.intermediate_size;
  model.num_hidden_layers = config.num_hidden_layers;
  model.num_attention_heads = config.num_attention_heads;
  model.num_key_value_heads = config.num_key_value_heads;
  model.head_dim = config.head_dim;
  model.num_experts = config.num_experts;
  model.num_experts_per_tok = config.num_experts_per_tok;
  model.selection_bias = config.selection_bias;
  model.hidden_act = config.hidden_act;
  model.gated = config.gated;
  model.qk_norm = config.qk_norm == QkNorm::kHead;
  model.tie_word_embeddings = config.tie_word_embeddings;
  model.rms_norm_eps = config.rms_norm_eps;
  model.rope_theta = config.rope_theta;
  model.max_position_embeddings = config.max_position_embeddings;
  model.initializer_range = config.initializer_range;
}

void require_agreement(const OrderedJson& given, const OrderedJson& real,
                       const YamlTree& fields, const std::string& from) {
  for (const auto& [key, node] : fields.entries) {
    if (given.at(key) == real.at(key)) continue;
    user_error("reading {}: model.{}: found {}, but {} has {}; leave it out",
               node.place, key, given.at(key).dump(), quote(from),
               real.at(key).dump());
  }
}

}  // namespace

std::optional<ModelConfig> first_config(const ModelPlan& model) {
  if (model.from.empty()) return model_config(model, 1);
  const fs::path path = find_model(model.from);
  if (!is_folder(path)) return std::nullopt;
  return model_config_from_json(read_python_json(path / "config.json"));
}

void follow_model_from(Plan& plan, const YamlTree& tree) {
  const std::string& from = plan.model.from;
  if (from.empty()) return;
  const YamlTree& fields = *tree.find("model");
  const fs::path path = find_model(
      from, fmt::format("reading {}: model.from:", fields.find("from")->place));
  if (tree.find("tokenizer") == nullptr &&
      (is_gguf_file(path) || tokenizer_in(path))) {
    plan.tokenizer = path.string();
  }
  const std::optional<ModelConfig> config = first_config(plan.model);
  if (!config) return;
  const OrderedJson given = plan_to_json(plan, false).at("model");
  set_sizes(*config, plan.model);
  require_agreement(given, plan_to_json(plan, false).at("model"), fields, from);
}

}  // namespace annuli
