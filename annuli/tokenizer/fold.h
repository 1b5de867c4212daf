#pragma once

#include <cstdint>
#include <string>
#include <string_view>

// Foldings of single characters, with the tables of the Python `tokenizers`
// package: see make_fold_tables.py.
namespace annuli {

// What the character is another spelling of (Unicode's compatibility
// decomposition, whole), as UTF-8; empty where there is none beyond the
// canonical one.
std::string_view compatible_spelling(char32_t character);

// Lower case, character by character, whatever stands around it. True and the
// spelling appended where it differs from the character.
bool append_lower(char32_t character, std::string& out);

// A mark that takes no place of its own (category Mn).
bool is_accent(char32_t character);

}  // namespace annuli
