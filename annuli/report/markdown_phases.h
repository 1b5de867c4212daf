#pragma once

#include <string>

#include "annuli/core/json.h"

namespace annuli::report {

// The phases of a run, one of the `runs` of `page_data`, as a Markdown table:
// shape, parameters, steps, first and last loss, held-out loss, median speed,
// memory measured and planned. "-" stands for what is not known.
std::string markdown_phases(const Json& run);

}  // namespace annuli::report
