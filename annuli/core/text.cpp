#include "annuli/core/text.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <vector>

namespace annuli {
namespace {

// Edits (insert, delete, replace, swap of neighbours) between two words,
// blind to case.
size_t edit_distance(std::string_view a, std::string_view b) {
  const auto same = [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) ==
           std::tolower(static_cast<unsigned char>(y));
  };
  std::vector<std::vector<size_t>> cost(a.size() + 1,
                                        std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        cost[i][j] = i + j;
        continue;
      }
      const size_t replaced = cost[i - 1][j - 1] + !same(a[i - 1], b[j - 1]);
      cost[i][j] = std::min({replaced, cost[i - 1][j] + 1, cost[i][j - 1] + 1});
      if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) &&
          same(a[i - 2], b[j - 1])) {
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
      }
    }
  }
  return cost[a.size()][b.size()];
}

}  // namespace

std::string format_count(double n) {
  constexpr std::array<const char*, 5> kUnits = {"", " K", " M", " B", " T"};
  size_t unit = 0;
  // 999.95 would print as 1000.0.
  while (std::abs(n) >= (unit == 0 ? 1000 : 999.95) &&
         unit + 1 < kUnits.size()) {
    n /= 1000;
    ++unit;
  }
  if (unit == 0) return fmt::format("{:.4g}", n);
  const int decimals = std::abs(n) < 9.995 ? 2 : 1;
  return fmt::format("{:.{}f}{}", n, decimals, kUnits[unit]);
}

std::string format_bytes(double bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "kB", "MB", "GB", "TB"};
  size_t unit = 0;
  while (std::abs(bytes) >= (unit == 0 ? 1000 : 999.995) &&
         unit + 1 < kUnits.size()) {
    bytes /= 1000;
    ++unit;
  }
  return fmt::format("{:.{}f} {}", bytes, unit == 0 ? 0 : 2, kUnits[unit]);
}

namespace {

struct Unit {
  std::string_view name;
  double size;
};

// A positive number and one of these units, in the smallest of them.
std::optional<double> parse_amount(std::string_view text,
                                   std::span<const Unit> units) {
  double number = 0;
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, number);
  if (parsed.ec != std::errc() || !(number > 0)) return std::nullopt;
  std::string_view unit(parsed.ptr, static_cast<size_t>(end - parsed.ptr));
  while (unit.starts_with(' ')) unit.remove_prefix(1);
  const auto known = std::ranges::find(units, unit, &Unit::name);
  if (known == units.end()) return std::nullopt;
  return number * known->size;
}

}  // namespace

std::optional<int64_t> parse_bytes(std::string_view text) {
  constexpr std::array<Unit, 8> kUnits = {{{"", 1},
                                           {"B", 1},
                                           {"kB", 1e3},
                                           {"MB", 1e6},
                                           {"GB", 1e9},
                                           {"TB", 1e12},
                                           {"MiB", 1048576},
                                           {"GiB", 1073741824}}};
  const std::optional<double> bytes = parse_amount(text, kUnits);
  if (!bytes || !(*bytes >= 1 && *bytes < 9e18)) return std::nullopt;
  return static_cast<int64_t>(*bytes);
}

std::optional<double> parse_duration(std::string_view text) {
  constexpr std::array<Unit, 3> kUnits = {
      {{"us", 1e-6}, {"ms", 1e-3}, {"s", 1}}};
  const std::optional<double> seconds = parse_amount(text, kUnits);
  if (!seconds || !std::isfinite(*seconds)) return std::nullopt;
  return seconds;
}

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds)) return "?";
  if (std::abs(seconds) < 59.95) return fmt::format("{:.1f} s", seconds);
  const int64_t whole = std::llround(seconds);
  const int64_t minutes = whole / 60 % 60;
  if (whole < 3600) return fmt::format("{}:{:02} min", minutes, whole % 60);
  return fmt::format("{}:{:02}:{:02} h", whole / 3600, minutes, whole % 60);
}

std::string aligned(const std::vector<std::vector<std::string>>& rows,
                    Align numbers) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(row.size(), 0);
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], row[i].size());
    }
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const bool left = i == 0 || numbers == Align::kLeft;
      line += left ? fmt::format("{:<{}}  ", row[i], widths[i])
                   : fmt::format("{:>{}}  ", row[i], widths[i]);
    }
    text.append(line, 0, line.find_last_not_of(' ') + 1).append(1, '\n');
  }
  return text;
}

std::string did_you_mean(std::string_view word,
                         std::span<const std::string> candidates) {
  const std::string* nearest = nullptr;
  size_t least = 0;
  for (const std::string& candidate : candidates) {
    const size_t distance = edit_distance(word, candidate);
    // One edit in three letters; beyond that a guess only misleads.
    const size_t limit =
        std::max<size_t>(1, std::max(word.size(), candidate.size()) / 3);
    if (distance > limit || distance >= candidate.size()) continue;
    if (nearest == nullptr || distance < least) {
      nearest = &candidate;
      least = distance;
    }
  }
  return nearest ? fmt::format(", did you mean '{}'?", *nearest) : "";
}

}  // namespace annuli
