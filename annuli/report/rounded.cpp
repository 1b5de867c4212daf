#include "annuli/report/rounded.h"

#include <fmt/core.h>

#include <cmath>
#include <cstdlib>

namespace annuli::report {

Json rounded(double value) {
  if (!std::isfinite(value)) return Json();
  const bool whole = std::floor(value) == value && std::abs(value) < 1e15;
  if (whole) return static_cast<int64_t>(value);
  return std::strtod(fmt::format("{:.7g}", value).c_str(), nullptr);
}

}  // namespace annuli::report
