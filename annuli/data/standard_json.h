#pragma once

#include <cstdint>
#include <string>
#include <string_view>

// JSON as Python reads and writes it, which is more than the standard has.
namespace annuli::data {

// The same value in the standard's JSON, in as many bytes:
// - NaN, Infinity and -Infinity are 0: they stand beside a text, not in it;
// - the exponent of a number is 0, for the library refuses those beyond fp64;
// - the escape of half a surrogate pair is \ufffd, and counted. Python keeps
//   the half, and then cannot write it as UTF-8.
// What is no JSON to Python either stays none.
std::string standard_json(std::string_view json, int64_t& lone_surrogates);

}  // namespace annuli::data
