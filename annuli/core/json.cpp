#include "annuli/core/json.h"

#include "annuli/core/error.h"
#include "annuli/core/file.h"

namespace annuli {

Json read_json(const std::filesystem::path& path) {
  try {
    return Json::parse(read_file(path));
  } catch (const Json::exception& error) {
    // "[json.exception.parse_error.101] parse error at line 2, column 1: ..."
    std::string_view reason = error.what();
    if (const size_t end = reason.find("] "); end != reason.npos) {
      reason.remove_prefix(end + 2);
    }
    user_error("reading {}: {}", path.string(), reason);
  }
}

void write_json(const std::filesystem::path& path, const Json& json) {
  // Bytes that are not UTF-8 (a path, a sample's text) become U+FFFD: a
  // record is worth more than the byte.
  const std::string text =
      json.dump(2, ' ', false, Json::error_handler_t::replace);
  write_file_atomically(path, text + "\n");
}

}  // namespace annuli
