#include "annuli/core/json.h"

#include <algorithm>
#include <string_view>

#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/core/python_json.h"
#include "annuli/core/quote.h"

namespace annuli {
namespace {

// What walks a document, our code and the library's, calls itself once a level.
constexpr int kDeepest = 500;

// Most brackets that are open at once, outside of strings.
int depth_of(std::string_view text) {
  int depth = 0;
  int deepest = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted && c == '\\') {
      ++i;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (!quoted && (c == '[' || c == '{')) {
      deepest = std::max(deepest, ++depth);
    } else if (!quoted && (c == ']' || c == '}')) {
      --depth;
    }
  }
  return deepest;
}

}  // namespace

void detail::throw_not_integer(const Json& json) {
  const std::string found =
      json.is_number() ? json.dump() : std::string(json.type_name());
  throw Json::type_error::create(
      302, "found " + found + ", expected a whole number in its range", &json);
}

// "[json.exception.parse_error.101] parse error at line 2, column 1: ..."
std::string reason_of(const Json::exception& error) {
  const std::string reason = one_line(error.what());
  const size_t end = reason.find("] ");
  return end == reason.npos ? reason : reason.substr(end + 2);
}

bool is_too_deep(std::string_view json) { return depth_of(json) > kDeepest; }

Json parse_json_file(const std::filesystem::path& path,
                     const std::string& text) {
  try {
    if (is_too_deep(text)) {
      user_error("reading {}: its values are nested more than {} deep",
                 path.string(), kDeepest);
    }
    return Json::parse(text);
  } catch (const Json::exception& error) {
    user_error("reading {}: {}", path.string(), reason_of(error));
  }
}

Json read_json(const std::filesystem::path& path) {
  return parse_json_file(path, read_file(path));
}

std::string pretty(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

void write_json(const std::filesystem::path& path, const Json& json) {
  write_file_atomically(path, pretty(json) + "\n");
}

}  // namespace annuli
