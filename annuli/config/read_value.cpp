#include "annuli/config/read_value.h"

#include <charconv>
#include <cmath>
#include <optional>
#include <vector>

#include "annuli/core/error.h"
#include "annuli/core/quote.h"
#include "annuli/core/text.h"

namespace annuli {
namespace {

using Kind = YamlTree::Kind;

std::string with_range(const char* type, const Field& field) {
  const std::string range = field.range.text();
  return range.empty() ? type : fmt::format("{}, {}", type, range);
}

// The whole of a plain scalar as a number; from_chars knows no leading plus.
template <typename T>
std::optional<T> parse_number(const YamlTree& node) {
  if (node.kind != Kind::kScalar || node.quoted) return {};
  std::string_view text = node.scalar;
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') {
    text.remove_prefix(1);
  }
  T value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) return {};
  return value;
}

}  // namespace

std::string expected_integer(const Field& field) {
  return with_range("an integer", field);
}

std::string expected_number(const Field& field) {
  return with_range("a number", field);
}

void reject(const YamlTree& node, const std::string& path,
            const std::string& expected) {
  user_error("reading {}: {}: found {}, expected {}", node.place, path,
             describe(node), expected);
}

bool is_null(const YamlTree& node, bool none) {
  return node.kind == Kind::kNull || (none && node.kind == Kind::kScalar &&
                                      !node.quoted && node.scalar == "none");
}

void read_value(const YamlTree& node, const std::string& path,
                const Field& field, std::string& value) {
  if (node.kind == Kind::kList || node.kind == Kind::kMap) {
    reject(node, path, "a text");
  }
  value = node.kind == Kind::kNull ? "" : node.scalar;
}

void read_value(const YamlTree& node, const std::string& path,
                const Field& field, bool& value) {
  const bool plain = node.kind == Kind::kScalar && !node.quoted;
  const std::string& word = node.scalar;
  if (plain && (word == "true" || word == "True" || word == "TRUE")) {
    value = true;
  } else if (plain && (word == "false" || word == "False" || word == "FALSE")) {
    value = false;
  } else {
    reject(node, path, "true or false");
  }
}

void read_value(const YamlTree& node, const std::string& path,
                const Field& field, int64_t& value) {
  const auto number = parse_number<int64_t>(node);
  if (!number || !field.range.contains(static_cast<double>(*number))) {
    reject(node, path, expected_integer(field));
  }
  value = *number;
}

void read_value(const YamlTree& node, const std::string& path,
                const Field& field, double& value) {
  const auto number = parse_number<double>(node);
  if (!number || !std::isfinite(*number) || !field.range.contains(*number)) {
    reject(node, path, expected_number(field));
  }
  value = *number;
}

void read_value(const YamlTree& node, const std::string& path,
                const Field& field, std::map<std::string, std::string>& value) {
  value.clear();
  if (node.kind == Kind::kNull) return;
  if (node.kind != Kind::kMap) reject(node, path, "a map of texts");
  for (const auto& [key, entry] : node.entries) {
    read_value(entry, path + "." + one_line(key), field, value[key]);
  }
}

void read_value(const YamlTree& node, const std::string& path,
                const Field& field, YamlTree& value) {
  if (node.kind != Kind::kMap) {
    reject(node, path, fmt::format("a map: {}", field.help));
  }
  value = node;
}

size_t read_word(const YamlTree& node, const std::string& path,
                 const std::string_view* words, size_t count) {
  const std::vector<std::string> names(words, words + count);
  std::string all;
  for (size_t i = 0; i < count; ++i) {
    if (node.kind == Kind::kScalar && node.scalar == words[i]) return i;
    all.append(i == 0 ? "" : ", ").append(words[i]);
  }
  const std::string hint =
      node.kind == Kind::kScalar ? did_you_mean(node.scalar, names) : "";
  reject(node, path, "one of " + all + hint);
}

}  // namespace annuli
