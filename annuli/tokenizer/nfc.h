#pragma once

#include <string>
#include <string_view>

// Unicode normalization forms (UAX #15). The tables stop at Unicode 9, where
// those of the Python `tokenizers` package stop: younger combining marks are
// left as they stand.
namespace annuli {

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

// "NFC"
std::string name_of(NormalForm form);

// True where no character can change; cheap, and false for much that is in
// its form.
bool surely_in_form(std::string_view text, NormalForm form);

// `text` must be valid UTF-8.
std::string to_form(std::string_view text, NormalForm form);

}  // namespace annuli
