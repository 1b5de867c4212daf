#include "annuli/config/field.h"

#include <fmt/core.h>

#include <cmath>

namespace annuli {

bool Range::contains(double value) const {
  const bool above_min = min_open ? value > min : value >= min;
  const bool below_max = max_open ? value < max : value <= max;
  return above_min && below_max;
}

std::string Range::text() const {
  const bool has_min = std::isfinite(min);
  const bool has_max = std::isfinite(max);
  if (has_min && has_max) {
    return fmt::format("{} to {}{}", min, max_open ? "below " : "", max);
  }
  if (has_min)
    return fmt::format("{} {}", min_open ? "above" : "at least", min);
  if (has_max) return fmt::format("{} {}", max_open ? "below" : "at most", max);
  return "";
}

}  // namespace annuli
