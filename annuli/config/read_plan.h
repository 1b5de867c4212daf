#pragma once

#include "annuli/config/plan.h"
#include "annuli/config/yaml_tree.h"

namespace annuli {

// Fills a plan from a tree: types, ranges, unknown and missing keys. What
// depends on other fields is neither filled in nor checked.
Plan read_plan(const YamlTree& tree);

// The same, filled in and checked: what parse_plan makes of a text.
Plan plan_of(const YamlTree& tree);

// One operator, or several: {widen: {...}} or [{upcycle: {...}}, ...]. A map
// may also hold `chain: [...]`.
GrowPlan read_growth(const YamlTree& tree);

}  // namespace annuli
