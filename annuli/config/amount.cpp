#include "annuli/config/amount.h"

#include <charconv>
#include <cmath>
#include <string_view>

namespace annuli {

std::optional<Amount> parse_amount(const std::string& text) {
  Amount amount;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, amount.value);
  const bool is_number =
      error == std::errc() && std::isfinite(amount.value) && amount.value >= 0;
  if (!is_number) return std::nullopt;
  std::string_view unit(stop, static_cast<size_t>(end - stop));
  while (unit.starts_with(' ')) unit.remove_prefix(1);
  if (unit == "%") {
    amount.value /= 100;
    amount.unit = Amount::Unit::kShare;
    if (amount.value > 1) return std::nullopt;
  } else if (unit == "tokens") {
    amount.unit = Amount::Unit::kTokens;
  } else if (!unit.empty() && unit != "steps" && unit != "step") {
    return std::nullopt;
  }
  return amount;
}

}  // namespace annuli
