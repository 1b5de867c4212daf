#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "annuli/config/model_config.h"
#include "annuli/config/phase_plan.h"

// The shape of what an operator makes. Plans and operators both ask here, so
// that a plan is refused before anything is trained, with the same words.
namespace annuli {

// Throws a UserError about a key; must not return.
using Complain =
    std::function<void(const std::string& key, const std::string& problem)>;

// The child's config. Complains about what cannot be applied to this parent,
// with keys like "widen.heads"; what `validate` says of the child is left to
// the caller.
ModelConfig grown_shape(const ModelConfig& parent, const GrowthStep& step,
                        const Complain& complain);

// Child layer -> parent layer.
std::vector<int64_t> layer_map(const DeepenPlan& deepen, int64_t parent_layers,
                               const Complain& complain);

// For operators in memory: "growing: widen.heads: found ...".
void complain_of_growth(const std::string& key, const std::string& problem);

// How many of the operators are set.
int count_operators(const GrowthStep& step);

}  // namespace annuli
