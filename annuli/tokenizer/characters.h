#pragma once

#include <cstddef>
#include <string_view>

// Kinds of characters as Rust's standard library and its `regex` have them,
// which the Python `tokenizers` package asks.
namespace annuli {

// Unicode's White_Space.
bool is_space(char32_t character);

// `\w`: letters, marks, decimal digits, connecting punctuation and joiners.
bool is_word_character(char32_t character);

// Bytes of the spaces at the start of `text`, and of `text` without the spaces
// at its end. Bytes that are not valid UTF-8 are no spaces.
size_t spaces_at_start(std::string_view text);
size_t size_before_spaces(std::string_view text);

// Whether the first or last character of `text` is a word character.
bool starts_with_word(std::string_view text);
bool ends_with_word(std::string_view text);

}  // namespace annuli
