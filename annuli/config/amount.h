#pragma once

#include <optional>
#include <string>

// A part of a run, as plans write it: "500" or "500 steps", "2%" of the run,
// "1e6 tokens".
namespace annuli {

struct Amount {
  enum class Unit { kSteps, kShare, kTokens };
  double value = 0;  // >= 0; of kShare 0 .. 1
  Unit unit = Unit::kSteps;
  bool operator==(const Amount&) const = default;
};

// nullopt if the text is not one.
std::optional<Amount> parse_amount(const std::string& text);

}  // namespace annuli
