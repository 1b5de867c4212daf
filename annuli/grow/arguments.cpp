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

std::string name_of(const GrowthStep& step) {
  const Json operators = plain(step_to_json(step));
  ANNULI_CHECK(operators.size() == 1, "{} operators in a step",
               operators.size());
  return operators.begin().key();
}

Recipe recipe_by_rule(
    const GrowthStep& step, const ModelConfig& parent, uint64_t seed,
    const std::function<GrowthRule(const ModelConfig& child)>& rule) {
  Recipe recipe;
  recipe.op = name_of(step);
  recipe.arguments = plain(step_to_json(step)).begin().value();
  recipe.seed = seed;
  recipe.parent = parent;
  recipe.child = grown_shape(parent, step, complain_of_growth);
  validate(recipe.child);
  const GrowthRule growth = rule(recipe.child);
  recipe.exact = growth.exact;
  recipe.loss_budget = growth.exact ? 0 : growth.loss_budget;
  derive(growth.axes, recipe);
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

std::vector<ExtendPlan> extensions_of(const std::string& op,
                                      const Json& arguments) {
  // Only these steps are read: what was found out of two models may lack what a
  // plan must have (the size of a router's numbers).
  const Json steps =
      op == "chain" ? arguments : Json::array({{{op, arguments}}});
  std::vector<ExtendPlan> all;
  for (const Json& step : steps) {
    if (!step.contains("extend")) continue;
    all.push_back(*plan_of("extend", step.at("extend")).extend);
  }
  return all;
}

int64_t expert_shards_of(const std::string& op, const Json& arguments) {
  if (!is_operator(op)) return 1;
  const GrowPlan plan = plan_of(op, arguments);
  if (plan.upcycle) return plan.upcycle->granularity;
  for (const GrowthStep& step : plan.chain) {
    if (step.upcycle) return step.upcycle->granularity;
  }
  return 1;
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
