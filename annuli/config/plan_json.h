#pragma once

#include <nlohmann/json.hpp>

#include "annuli/config/plan.h"

namespace annuli {

using OrderedJson = nlohmann::ordered_json;

// Every field in the order of the file; sections that are not set are left
// out, unset values are null. `hashed_only` leaves out what plan_hash ignores.
OrderedJson plan_to_json(const Plan& plan, bool hashed_only);

// The one operator that is set, as {"widen": {...}}; every field is there but
// for those that count only where they are set (Field::hashed_if_set): so a
// lineage reads as it did before they were known.
OrderedJson step_to_json(const GrowthStep& step);

}  // namespace annuli
