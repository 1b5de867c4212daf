#include "annuli/core/quote.h"

#include <fmt/core.h>

namespace annuli {

std::string one_line(std::string_view text) {
  std::string line;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      line += fmt::format("\\x{:02x}", byte);
    } else {
      line += c;
    }
  }
  return line;
}

std::string quote(std::string_view text) {
  constexpr size_t kLongest = 60;
  if (text.size() <= kLongest) return fmt::format("'{}'", one_line(text));
  return fmt::format("'{}' ... ({} bytes)", one_line(text.substr(0, kLongest)),
                     text.size());
}

}  // namespace annuli
