#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>

// Numbers of a file, which has them in fp32.
namespace annuli::gguf {

// What a program in between may have computed in fp32.
inline constexpr double kRounding = 1e-5;

inline bool is_near(double a, double b) {
  return std::abs(a - b) <= kRounding * std::max(std::abs(a), std::abs(b));
}

// The shortest decimal that rounds to the same number of fp32.
inline double decimal(double rounded) {
  const std::string text = fmt::format("{}", static_cast<float>(rounded));
  double value = rounded;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace annuli::gguf
