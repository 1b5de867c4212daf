#pragma once

#include <optional>
#include <string>
#include <string_view>

// GPT-2's printable spelling of bytes, used by vocabulary files: printable
// Latin-1 bytes stand for themselves, the other 68 are U+0100 onwards in
// order, so that a space is "Ġ" (U+0120).
namespace annuli {

// The character of a byte, as UTF-8.
std::string spell_byte(unsigned char byte);

std::string spell_bytes(std::string_view bytes);

// The bytes that `spelled` stands for; nothing if any of its characters is
// outside the alphabet.
std::optional<std::string> bytes_of_spelling(std::string_view spelled);

}  // namespace annuli
