#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

// Numbers and names for people.
namespace annuli {

std::string format_count(double n);      // 63.5 M, 1.17 B, 512
std::string format_bytes(double bytes);  // 14.07 GB (powers of 1000)
// "16GB", "1.5 GB", "800MiB", "1000000": bytes; nothing if it is no such text.
std::optional<int64_t> parse_bytes(std::string_view text);
std::string format_duration(double seconds);  // 4.2 s, 3:07 min, 1:02:03 h
// "50us", "0.1 ms", "2s": seconds; nothing if it is no such text.
std::optional<double> parse_duration(std::string_view text);

// Rows of equally many cells, two spaces between columns that are as wide as
// their widest cell, no spaces at the end of a line. The first column stands to
// the left, the others as `numbers` says.
enum class Align { kLeft, kRight };
std::string aligned(const std::vector<std::vector<std::string>>& rows,
                    Align numbers);

// ", did you mean 'widen'?" for the candidate nearest to `word` by edit
// distance, or "" if none is near.
std::string did_you_mean(std::string_view word,
                         std::span<const std::string> candidates);

}  // namespace annuli
