#pragma once

#include <string>

#include "annuli/core/json.h"

// A report of runs in words and tables, for a pull request or a wiki.
namespace annuli::report {

// Of `page_data`: what each run is, its phases, growth steps, checks (those
// that failed first, the rest folded), samples; of several runs also their
// losses at equal cost. What a run did not record is left out.
std::string markdown_report(const Json& data);

}  // namespace annuli::report
