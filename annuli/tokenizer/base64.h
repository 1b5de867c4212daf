#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace annuli {

// The bytes that `text` stands for (RFC 4648, padding at its end only);
// nothing if it is no base64.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace annuli
