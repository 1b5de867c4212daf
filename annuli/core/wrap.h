#pragma once

#include <string>
#include <string_view>

namespace annuli {

// The text in lines of at most `width` bytes, broken at spaces; a longer word
// has a line of its own. Newlines of the text stay.
std::string wrapped(std::string_view text, size_t width);

// With this before each line but the first.
std::string indented(std::string_view text, std::string_view indent);

}  // namespace annuli
