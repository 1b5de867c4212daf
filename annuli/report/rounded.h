#pragma once

#include "annuli/core/json.h"

namespace annuli::report {

// With seven digits, as many as a page can show, so that it stays small; null
// for NaN.
Json rounded(double value);

}  // namespace annuli::report
