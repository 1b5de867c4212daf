#include "annuli/cli/verify_map.h"

#include <algorithm>

#include "annuli/checkpoint/content_hash.h"
#include "annuli/core/error.h"
#include "annuli/grow/arguments.h"
#include "annuli/grow/registry.h"

namespace annuli::cli {
namespace {

bool is_growth(const LineageRecord& record) {
  return grow::is_operator(record.op);
}

grow::Recipe recipe_of(const LineageRecord& record, const ModelConfig& parent,
                       const std::string& where) {
  return grow::recipe_of(record.op, record.arguments, parent, record.seed,
                         where);
}

const LineageRecord* last_growth(const Lineage& lineage) {
  const auto found = std::find_if(lineage.rbegin(), lineage.rend(), is_growth);
  return found == lineage.rend() ? nullptr : &*found;
}

grow::Recipe of_lineage(const Json& json, const ModelConfig& parent,
                        const std::string& where) {
  const Lineage lineage = lineage_from_json(json, where);
  const LineageRecord* record = last_growth(lineage);
  if (record == nullptr) {
    user_error("reading {}: the lineage has no growth", where);
  }
  return recipe_of(*record, parent, where);
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

}  // namespace

grow::Recipe read_map(const fs::path& path, const ModelConfig& parent) {
  const std::string where = path.string();
  const Json json = read_json(path);
  if (json.is_object() && json.contains("records")) {
    return of_lineage(json, parent, where);
  }
  if (json.is_object() && json.contains("layer_map")) {
    return of_recipe(json, parent, where);
  }
  if (json.is_object() && json.size() == 1) {
    const LineageRecord record{.op = json.begin().key(),
                               .arguments = json.begin().value()};
    if (is_growth(record)) return recipe_of(record, parent, where);
  }
  user_error(
      "reading {}: found neither an operator with its arguments, such as "
      "{{\"widen\": {{\"factor\": 2}}}}, nor a list of them, a lineage or a "
      "recipe",
      where);
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
