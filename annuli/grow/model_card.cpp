#include "annuli/grow/model_card.h"

#include <fmt/core.h>

#include <algorithm>

#include "annuli/core/markdown.h"
#include "annuli/core/text.h"
#include "annuli/grow/card_lineage.h"
#include "annuli/grow/registry.h"
#include "annuli/model/tensor_table.h"

namespace annuli::grow {
namespace {

// Ours has no class in transformers.
bool is_of_transformers(const Json& config) {
  return !config.value("model_type", "").starts_with("annuli");
}

std::vector<std::string> operators_of(const Lineage& lineage) {
  std::vector<std::string> names;
  for (const LineageRecord& record : lineage) {
    if (is_operator(record.op) &&
        std::ranges::find(names, record.op) == names.end()) {
      names.push_back(record.op);
    }
  }
  return names;
}

// A JSON string is a YAML string.
std::string quoted(const std::string& text) {
  return Json(text).dump(-1, ' ', true, Json::error_handler_t::replace);
}

std::string yaml_list(const char* key, const std::vector<std::string>& items) {
  if (items.empty()) return "";
  std::string yaml = fmt::format("{}:\n", key);
  for (const std::string& item : items) yaml += "- " + quoted(item) + "\n";
  return yaml;
}

// The form that the Hub calls "model-index".
std::string results_of(const std::vector<CardMetric>& metrics) {
  if (metrics.empty()) return "";
  std::string yaml =
      "model-index:\n- name: \"this model\"\n  results:\n"
      "  - task:\n      type: \"text-generation\"\n"
      "    dataset:\n      type: \"text\"\n"
      "      name: \"held-out text of the run\"\n"
      "    metrics:\n";
  for (const CardMetric& metric : metrics) {
    yaml += fmt::format("    - type: {}\n      name: {}\n      value: {:.6g}\n",
                        quoted(metric.type), quoted(metric.name), metric.value);
  }
  return yaml;
}

std::string front_matter(const CardFacts& facts) {
  std::vector<std::string> tags = {"annuli", "model-growth"};
  for (const std::string& op : operators_of(facts.lineage)) tags.push_back(op);
  const ModelConfig& config = facts.shapes.back().second;
  if (config.is_mixture()) tags.emplace_back("moe");
  std::string yaml = fmt::format(
      "library_name: {}\npipeline_tag: \"text-generation\"\n",
      is_of_transformers(facts.config) ? "\"transformers\"" : "\"annuli\"");
  yaml += yaml_list("base_model", facts.origin.ids);
  if (!facts.origin.ids.empty()) {
    yaml += fmt::format("base_model_relation: \"{}\"\n",
                        facts.origin.ids.size() > 1 ? "merge" : "finetune");
  }
  for (const auto& [key, value] : facts.origin.terms) {
    yaml += fmt::format("{}: {}\n", key, quoted(value));
  }
  return "---\n" + yaml + yaml_list("tags", tags) +
         results_of(facts.training.metrics) + "---\n";
}

std::vector<std::string> shape_of(const std::string& whose,
                                  const ModelConfig& config) {
  const std::string experts =
      config.is_mixture()
          ? fmt::format(", {} experts top-{}", config.num_experts,
                        config.num_experts_per_tok)
          : "";
  const ParameterCount count = count_parameters(config);
  return {whose,
          fmt::format("{} layers x {}, {} heads, {} key/value heads, "
                      "feed-forward {}{}",
                      config.num_hidden_layers, config.hidden_size,
                      config.num_attention_heads, config.num_key_value_heads,
                      config.intermediate_size, experts),
          format_count(static_cast<double>(count.total)),
          format_count(static_cast<double>(count.active))};
}

std::string shapes_of(const CardFacts& facts) {
  std::vector<std::vector<std::string>> rows = {
      {"model", "shape", "parameters", "active"}};
  for (const auto& [whose, config] : facts.shapes) {
    rows.push_back(shape_of(whose, config));
  }
  return markdown_table(rows);
}

std::string how_to_load(const Json& config) {
  if (!is_of_transformers(config)) {
    return fmt::format(
        "transformers has no class for its model type, {}; `annuli generate`, "
        "`annuli evaluate` and `annuli run` read this folder.\n",
        markdown_code(config.value("model_type", "")));
  }
  return "```python\n"
         "from transformers import AutoModelForCausalLM\n"
         "model = AutoModelForCausalLM.from_pretrained(\"this folder\")\n"
         "```\n";
}

std::string section(const char* heading, const std::string& text) {
  return text.empty() ? "" : fmt::format("\n## {}\n\n{}", heading, text);
}

std::string summary_of(const CardFacts& facts) {
  if (facts.lineage.empty()) {
    return "Written by annuli; its weights carry no lineage.";
  }
  const LineageRecord& last = facts.lineage.back();
  return fmt::format(
      "Made by annuli {}; [lineage.json](lineage.json) says "
      "from what and how, each parent by its content hash.",
      markdown_text(last.versions.value("annuli", "")));
}

}  // namespace

std::string model_card(const CardFacts& facts) {
  const bool is_grown = !operators_of(facts.lineage).empty();
  return front_matter(facts) +
         fmt::format("\n# {}\n\n{}\n\n{}",
                     is_grown ? "A grown model" : "A model", summary_of(facts),
                     shapes_of(facts)) +
         section("How it came to be", lineage_in_sentences(facts.lineage)) +
         section("Proof of its last growth", verdicts_in_words(facts.lineage)) +
         section("Training", facts.training.markdown) +
         section("Loading", how_to_load(facts.config));
}

}  // namespace annuli::grow
