#pragma once

#include <string>
#include <string_view>

// Unicode normalization form C (UAX #15), which Qwen's tokenizers apply before
// anything else. The tables stop at Unicode 9, where those of the Python
// `tokenizers` package stop: younger combining marks are left as they stand.
namespace annuli {

// True where no character can change: everything below U+0300. Cheap.
bool surely_nfc(std::string_view text);

// `text` must be valid UTF-8.
std::string to_nfc(std::string_view text);

}  // namespace annuli
