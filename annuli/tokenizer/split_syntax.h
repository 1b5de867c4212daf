#pragma once

#include <string>
#include <string_view>

// Split patterns are written for Oniguruma (Ruby syntax), which the Python
// package uses; PCRE2 reads some of the same spellings differently. This is
// the bridge: it rewrites what differs (\s, \d, \w, scripts) and refuses, by a
// UserError, whatever it does not know to mean the same in both (\W, \b, \h,
// ^, $, flags other than i, nested classes, {n,m}+, ...).
namespace annuli {

// Also refuses backtracking verbs, so a pattern from a file cannot change
// PCRE2's settings.
std::string to_pcre2(std::string_view pattern);

// The pattern that matches exactly `text`.
std::string quoted_pattern(std::string_view text);

}  // namespace annuli
