#include "annuli/core/python_json.h"

#include <array>
#include <string_view>

#include "annuli/core/file.h"

namespace annuli {
namespace {

constexpr std::array<std::string_view, 3> kSpecial = {"NaN", "Infinity",
                                                      "-Infinity"};

std::string_view special_at(std::string_view text) {
  for (const std::string_view word : kSpecial) {
    if (text.starts_with(word)) return word;
  }
  return {};
}

}  // namespace

std::string without_special_floats(const std::string& json) {
  std::string result;
  bool quoted = false;
  for (size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    const std::string_view rest = std::string_view(json).substr(i);
    const std::string_view word =
        quoted ? std::string_view() : special_at(rest);
    if (!word.empty()) {
      result.append(R"({"__float__": ")").append(word).append("\"}");
      i += word.size() - 1;
      continue;
    }
    result += c;
    if (quoted && c == '\\' && i + 1 < json.size()) {
      result += json[++i];
    } else if (c == '"') {
      quoted = !quoted;
    }
  }
  return result;
}

Json read_python_json(const std::filesystem::path& path) {
  return parse_json_file(path, without_special_floats(read_file(path)));
}

}  // namespace annuli
