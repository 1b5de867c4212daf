#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "annuli/config/plan.h"
#include "annuli/config/plan_json.h"
#include "annuli/core/hash.h"
#include "annuli/core/json.h"

namespace annuli {
namespace {

// A string that YAML readers take for a string without quotes.
bool is_plain(const std::string& text) {
  constexpr const char* kSafe =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_/.- ";
  constexpr auto kWords = std::to_array<std::string_view>(
      {"true", "false", "yes", "no", "on", "off", "null", "none", "y", "n"});
  if (text.empty() || text.find_first_not_of(kSafe) != std::string::npos) {
    return false;
  }
  const char first = text.front();
  if (first != '/' && first != '_' && !std::isalpha(first)) return false;
  if (text.back() == ' ') return false;
  std::string lower = text;
  for (char& c : lower) c = static_cast<char>(std::tolower(c));
  return std::ranges::find(kWords, lower) == kWords.end();
}

// Shortest text that reads back the same; 3.0e-04, not 3e-04, which YAML 1.1
// readers take for a string.
std::string number_text(double value) {
  std::string text = fmt::format("{}", value);
  const size_t e = text.find('e');
  if (e != std::string::npos && text.find('.') == std::string::npos) {
    text.insert(e, ".0");
  }
  return text;
}

std::string scalar_text(const OrderedJson& json) {
  if (json.is_number_float()) return number_text(json.get<double>());
  if (!json.is_string()) return json.dump();
  const auto& text = json.get_ref<const std::string&>();
  return is_plain(text) ? text : json.dump();
}

void write_map(const OrderedJson& map, size_t indent, std::string& out);

void write_list(const OrderedJson& list, size_t indent, std::string& out) {
  const std::string margin(indent, ' ');
  for (const auto& item : list) {
    if (!item.is_object()) {
      out += fmt::format("{}- {}\n", margin, scalar_text(item));
      continue;
    }
    const size_t start = out.size();
    write_map(item, indent + 2, out);
    out[start + indent] = '-';
  }
}

void write_map(const OrderedJson& map, size_t indent, std::string& out) {
  const std::string margin(indent, ' ');
  for (const auto& [key, value] : map.items()) {
    out += fmt::format("{}{}:", margin,
                       is_plain(key) ? key : OrderedJson(key).dump());
    if (value.empty() && value.is_structured()) {
      out += value.is_object() ? " {}\n" : " []\n";
    } else if (value.is_object()) {
      out += "\n";
      write_map(value, indent + 2, out);
    } else if (value.is_array()) {
      out += "\n";
      write_list(value, indent + 2, out);
    } else {
      out += fmt::format(" {}\n", scalar_text(value));
    }
  }
}

}  // namespace

std::string to_yaml(const Plan& plan) {
  std::string out;
  write_map(plan_to_json(plan, /*hashed_only=*/false), 0, out);
  return out;
}

Json to_json(const Plan& plan) {
  return Json::parse(plan_to_json(plan, false).dump());
}

Json hashed_json(const Plan& plan) {
  return Json::parse(plan_to_json(plan, /*hashed_only=*/true).dump());
}

std::string plan_hash(const Plan& plan) {
  return sha256_of(hashed_json(plan).dump());
}

}  // namespace annuli
