#pragma once

#include <optional>
#include <string_view>

// Encodings of text that are known without reading it.
namespace annuli::data {

// The mark that some programs put before UTF-8.
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

// "UTF-16", "UTF-16LE", "UTF-32BE", ..., the names that iconv has: by the mark
// at the front, or by zeros where the upper bytes of Latin letters would be.
// Nothing for what may be UTF-8, single zeros in it included.
std::optional<std::string_view> wide_encoding(std::string_view head);

}  // namespace annuli::data
