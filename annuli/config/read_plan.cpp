#include "annuli/config/read_plan.h"

#include "annuli/config/plan_fields.h"
#include "annuli/config/read_section.h"
#include "annuli/core/error.h"

namespace annuli {

Plan read_plan(const YamlTree& tree) {
  if (tree.kind != YamlTree::Kind::kMap) {
    user_error(
        "reading {}: found {}, expected a map: a plan with name, model "
        "and phases",
        tree.place, describe(tree));
  }
  return read_document<Plan>(tree);
}

GrowPlan read_growth(const YamlTree& tree) {
  GrowPlan plan;
  if (tree.kind == YamlTree::Kind::kList) {
    read_value(tree, "", {"chain", "operators"}, plan.chain);
  } else {
    read_value(tree, "", {"grow", "operators"}, plan);
  }
  return plan;
}

}  // namespace annuli
