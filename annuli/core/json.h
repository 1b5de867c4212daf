#pragma once

#include <concepts>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace annuli {

template <typename T, typename Enable = void>
struct JsonConversion : nlohmann::adl_serializer<T, Enable> {};

// A value of JSON whose integers are integers: the library's own `get` makes 1
// of 1.5 and of true, wraps what is too large, and of 1e23 makes undefined
// behaviour. Each is an exception here, as a text in a number's place is.
using Json =
    nlohmann::basic_json<std::map, std::vector, std::string, bool, int64_t,
                         uint64_t, double, std::allocator, JsonConversion>;

namespace detail {
[[noreturn]] void throw_not_integer(const Json& json);
}  // namespace detail

// Whether it is a whole number that a T holds.
template <std::integral T>
bool fits_in(const Json& json) {
  if (json.is_number_unsigned()) {
    return std::in_range<T>(json.get_ref<const uint64_t&>());
  }
  return json.is_number_integer() &&
         std::in_range<T>(json.get_ref<const int64_t&>());
}

template <typename T>
requires(std::integral<T> && !std::same_as<T, bool>) struct JsonConversion<T>
    : nlohmann::adl_serializer<T> {
  static void from_json(const Json& json, T& value) {
    if (!fits_in<T>(json)) detail::throw_not_integer(json);
    nlohmann::adl_serializer<T>::from_json(json, value);
  }
};

// What an exception of the library says, on one line and without its number:
// "(/tensors/b/step) found 1.5, expected a whole number in its range".
std::string reason_of(const Json::exception& error);

// Whether more than 500 arrays and objects are open at once. What walks such a
// document recurses as deep, so it is asked of a text before it is parsed.
bool is_too_deep(std::string_view json);

// Parses a file; a UserError names the file and the place of a syntax error.
Json read_json(const std::filesystem::path& path);

// On lines of two spaces an indent. Bytes that are not UTF-8 (in a path, in a
// sample's text) become U+FFFD: a record is worth more than the byte.
std::string pretty(const Json& json);

// pretty(), atomically.
void write_json(const std::filesystem::path& path, const Json& json);

}  // namespace annuli
