#pragma once

#include <string>
#include <string_view>

namespace annuli {

// 'text' for a message: on one line whatever the text holds, other bytes than
// printable ASCII and UTF-8 as \xHH, shortened in the middle of long texts.
std::string quote(std::string_view text);

}  // namespace annuli
