#pragma once

#include <string>
#include <string_view>

// Other people's text in our messages: on one line whatever it holds.
namespace annuli {

// Control bytes as \xHH, the rest as it is.
std::string one_line(std::string_view text);

// 'text', one_line, cut after 60 bytes.
std::string quote(std::string_view text);

}  // namespace annuli
