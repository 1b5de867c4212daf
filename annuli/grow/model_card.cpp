#include "annuli/grow/model_card.h"

#include <fmt/core.h>

#include <string_view>

#include "annuli/core/text.h"
#include "annuli/model/tensor_table.h"

namespace annuli::grow {
namespace {

std::string shape_of(const ModelConfig& config) {
  const std::string experts =
      config.is_mixture()
          ? fmt::format(", {} experts top-{}", config.num_experts,
                        config.num_experts_per_tok)
          : "";
  const ParameterCount count = count_parameters(config);
  return fmt::format(
      "{} layers x {}, {} heads, {} key/value heads, feed-forward {}{} | {} | "
      "{}",
      config.num_hidden_layers, config.hidden_size, config.num_attention_heads,
      config.num_key_value_heads, config.intermediate_size, experts,
      format_count(static_cast<double>(count.total)),
      format_count(static_cast<double>(count.active)));
}

std::string verdict_line(const Json& verdict) {
  const bool passed = verdict.value("passed", false);
  return fmt::format(
      "| {} | {} | {} | {} {} | {} |\n", verdict.value("check", ""),
      verdict.value("aspect", ""), verdict.at("measured").dump(),
      verdict.value("at_least", false) ? ">=" : "<=",
      verdict.at("limit").dump(), passed ? "passed" : "failed, allowed");
}

std::string verdicts_of(const LineageRecord& record) {
  if (record.verdicts.empty()) return "It was not verified.\n";
  std::string table =
      "| check | what was measured | measured | limit | |\n"
      "|---|---|---|---|---|\n";
  for (const Json& verdict : record.verdicts) table += verdict_line(verdict);
  return table;
}

// Ours has no class in transformers.
std::string how_to_load(const Json& config) {
  const std::string type = config.value("model_type", "");
  if (type.starts_with("annuli")) {
    return fmt::format(
        "transformers has no class for its model type, `{}`; `annuli "
        "generate`, `annuli evaluate` and `annuli run` read this folder.\n",
        type);
  }
  return "```python\n"
         "from transformers import AutoModelForCausalLM\n"
         "model = AutoModelForCausalLM.from_pretrained(\"this folder\")\n"
         "```\n";
}

}  // namespace

std::string model_card(const LineageRecord& record, const Recipe& recipe,
                       const Json& config) {
  return fmt::format(
      "# A grown model\n\n"
      "Made by [annuli](lineage.json) {}: `{}` with\n\n```json\n{}\n```\n\n"
      "| | shape | parameters | active |\n|---|---|---|---|\n"
      "| parent | {} |\n| this model | {} |\n\n"
      "Parent: content hash `{}`.\n{}\n"
      "## Verification\n\n{}\n"
      "## Loading\n\n{}",
      record.versions.value("annuli", ""), record.op, record.arguments.dump(2),
      shape_of(recipe.parent), shape_of(recipe.child), record.parent,
      recipe.exact ? "The growth preserves the parent's function.\n"
                   : "The growth does not preserve the parent's function.\n",
      verdicts_of(record), how_to_load(config));
}

}  // namespace annuli::grow
