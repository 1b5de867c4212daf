#include "annuli/grow/arguments.h"

#include "annuli/config/grown_shape.h"
#include "annuli/config/plan_json.h"
#include "annuli/config/read_plan.h"
#include "annuli/config/yaml_tree.h"
#include "annuli/core/error.h"
#include "annuli/core/json.h"
#include "annuli/grow/registry.h"

namespace annuli::grow {
namespace {

Json plain(const OrderedJson& json) { return Json::parse(json.dump()); }

// Sets the router of a step, if it has one that its YAML does not name.
void begin_router(const YamlTree& tree, RouterInit router, GrowthStep& step) {
  const auto begin = [&](const char* op, auto& options) {
    if (!options) return;
    const YamlTree* named = tree.find(op);
    if (named == nullptr || named->find("router") == nullptr) {
      options->router = router;
    }
  };
  begin("upcycle", step.upcycle);
  begin("merge_experts", step.merge_experts);
}

}  // namespace

Recipe begin_recipe(const GrowthStep& step, const ModelConfig& parent,
                    uint64_t seed) {
  const Json operators = plain(step_to_json(step));
  ANNULI_CHECK(operators.size() == 1);
  Recipe recipe;
  recipe.op = operators.begin().key();
  recipe.arguments = operators.begin().value();
  recipe.seed = seed;
  recipe.parent = parent;
  recipe.child = grown_shape(parent, step, complain_of_growth);
  validate(recipe.child);
  return recipe;
}

Json arguments_of(const GrowPlan& plan) {
  if (plan.chain.empty()) return plain(step_to_json(plan)).begin().value();
  Json steps = Json::array();
  for (const GrowthStep& step : plan.chain) {
    steps.push_back(plain(step_to_json(step)));
  }
  return steps;
}

GrowPlan plan_of(const std::string& op, const Json& arguments) {
  find_operator(op);
  const Json tree = op == "chain" ? arguments : Json{{op, arguments}};
  // JSON is YAML, and the plan's reader knows types, ranges and words.
  return read_growth(parse_yaml(tree.dump(), "the arguments of " + op, false));
}

GrowPlan read_chain(const std::string& yaml, const std::string& source,
                    RouterInit first_router) {
  YamlTree tree = parse_yaml(yaml, source);
  if (tree.entries.size() == 1 && tree.find("chain") != nullptr) {
    tree = YamlTree(*tree.find("chain"));
  }
  if (tree.kind != YamlTree::Kind::kList || tree.entries.empty()) {
    user_error(
        "reading {}: found {}, expected a list of operators, such as "
        "- widen: {{factor: 2}}",
        source, describe(tree));
  }
  GrowPlan plan = read_growth(tree);
  for (size_t i = 0; i < plan.chain.size(); ++i) {
    if (count_operators(plan.chain[i]) == 1) continue;
    user_error("reading {}: found {} operators, expected one to an entry",
               tree.entries[i].node.place, count_operators(plan.chain[i]));
  }
  begin_router(tree.entries.front().node, first_router, plan.chain.front());
  return plan;
}

Recipe recipe_of(const std::string& op, const Json& arguments,
                 const ModelConfig& parent, uint64_t seed,
                 const std::string& where) {
  try {
    return make_operator(plan_of(op, arguments))->recipe(parent, seed);
  } catch (const UserError& error) {
    user_error("reading the lineage of {}: {}: {}", where, op, error.what());
  }
}

}  // namespace annuli::grow
