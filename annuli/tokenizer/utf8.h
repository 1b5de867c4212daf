#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

// UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above
// U+10FFFF.
namespace annuli {

// Bytes of the valid character that starts at `text[at]`, or 0 if none does.
size_t utf8_length_at(std::string_view text, size_t at);

// The end of the stretch of valid characters that starts at `begin`; `begin`
// itself if none does.
size_t valid_utf8_end(std::string_view text, size_t begin);

// The end of the stretch of bytes that start no valid character.
size_t invalid_utf8_end(std::string_view text, size_t begin);

// The character at `text[at]`, which must be valid; moves `at` past it.
char32_t decode_utf8(std::string_view text, size_t& at);

void append_utf8(std::string& text, char32_t character);

}  // namespace annuli
