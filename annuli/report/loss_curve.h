#pragma once

#include <string>

#include "annuli/report/run_history.h"

namespace annuli::report {

// The smoothed loss against tokens up to the end of phase `last` (an index in
// RunHistory::phases) as an SVG element that stands by itself in Markdown or
// HTML: 640 x 240, a rule and a name where each phase begins, readable on a
// light and a dark ground. No line of it is empty, which would end it in
// Markdown. "" where that phase has no step.
std::string loss_curve_svg(const RunHistory& history, int32_t last);

}  // namespace annuli::report
