#include "annuli/cli/verify_map.h"

#include <fmt/core.h>

#include <algorithm>

#include "annuli/checkpoint/content_hash.h"
#include "annuli/config/grown_shape.h"
#include "annuli/config/read_plan.h"
#include "annuli/config/yaml_tree.h"
#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/core/quote.h"
#include "annuli/grow/arguments.h"
#include "annuli/grow/coded_growth.h"
#include "annuli/grow/registry.h"

namespace annuli::cli {
namespace {

bool is_growth(const LineageRecord& record) {
  return grow::is_operator(record.op);
}

grow::Recipe recipe_of(const LineageRecord& record, const ModelConfig& parent,
                       const std::string& where) {
  grow::Recipe recipe =
      grow::recipe_of(record.op, record.arguments, parent, record.seed, where);
  const bool coded = std::ranges::any_of(record.tensors, [](const Json& line) {
    return line.value("coded", false);
  });
  if (coded) grow::hold_as_codes(recipe);
  return recipe;
}

grow::Recipe of_lineage(const Json& json, const ModelConfig& parent,
                        const std::string& where) {
  const Lineage lineage = lineage_from_json(json, where);
  const auto found = std::find_if(lineage.rbegin(), lineage.rend(), is_growth);
  if (found == lineage.rend()) {
    user_error("reading {}: the lineage has no growth", where);
  }
  return recipe_of(*found, parent, where);
}

grow::Recipe of_recipe(const Json& json, const ModelConfig& parent,
                       const std::string& where) {
  grow::Recipe recipe = grow::recipe_from_json(json);
  if (!(recipe.parent == parent)) {
    user_error("reading {}: the recipe is for another parent, of the config {}",
               where, to_json(recipe.parent).dump());
  }
  return recipe;
}

[[noreturn]] void refuse_growth(const std::string& where,
                                const std::string& found) {
  user_error(
      "reading {}: found {}, expected one operator with its arguments, such as "
      "{{widen: {{factor: 2}}}}, a list of them, a lineage or a recipe",
      where, found);
}

GrowPlan read_plan_of(const YamlTree& tree, const std::string& where) {
  const bool is_map = tree.kind == YamlTree::Kind::kMap;
  if (!is_map && tree.kind != YamlTree::Kind::kList) {
    refuse_growth(where, describe(tree));
  }
  const auto names_operator = [](const auto& entry) {
    return grow::is_operator(entry.key);
  };
  if (is_map && std::ranges::none_of(tree.entries, names_operator)) {
    refuse_growth(where, tree.entries.empty() ? describe(tree)
                                              : quote(tree.entries[0].key));
  }
  GrowPlan plan = read_growth(tree);
  if (plan.chain.empty() && count_operators(plan) != 1) {
    refuse_growth(where, fmt::format("{} operators", count_operators(plan)));
  }
  return plan;
}

}  // namespace

grow::Recipe read_map(const fs::path& path, const ModelConfig& parent) {
  const std::string where = path.string();
  const std::string text = read_file(path);
  if (is_too_deep(text)) {
    user_error("reading {}: its values are nested too deeply", where);
  }
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_object() && json.contains("records")) {
    return of_lineage(json, parent, where);
  }
  if (json.is_object() && json.contains("layer_map")) {
    return of_recipe(json, parent, where);
  }
  // JSON is YAML.
  const GrowPlan plan = read_plan_of(parse_yaml(text, where), where);
  return grow::make_operator(plan)->recipe(parent, 0);
}

KnownRecipe find_recipe(const std::string& map, const ModelFile& parent,
                        const ModelFile& child) {
  if (!map.empty()) {
    return {read_map(map, parent.config()), "from " + map};
  }
  const std::optional<Lineage>& lineage = child.lineage();
  if (!lineage || lineage->empty() || !is_growth(lineage->back()) ||
      lineage->back().parent != content_hash(parent)) {
    return {std::nullopt, "inferred from the two models"};
  }
  return {recipe_of(lineage->back(), parent.config(), child.path().string()),
          "from the child's lineage"};
}

}  // namespace annuli::cli
