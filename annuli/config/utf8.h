#pragma once

#include <cstddef>
#include <string_view>

namespace annuli {

// Index of the first byte that is not part of well-formed UTF-8 (no overlong
// forms, no surrogates, at most U+10FFFF); text.size() if there is none.
size_t first_invalid_utf8(std::string_view text);

}  // namespace annuli
