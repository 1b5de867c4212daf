#include "annuli/config/quote.h"

#include <fmt/core.h>

namespace annuli {

std::string quote(std::string_view text) {
  constexpr size_t kLongest = 60;
  std::string quoted = "'";
  for (const char c : text.substr(0, kLongest)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      quoted += fmt::format("\\x{:02x}", byte);
    } else {
      quoted += c;
    }
  }
  quoted += "'";
  if (text.size() > kLongest)
    quoted += fmt::format(" ... ({} bytes)", text.size());
  return quoted;
}

}  // namespace annuli
