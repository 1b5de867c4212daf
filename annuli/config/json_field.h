#pragma once

#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/core/json.h"
#include "annuli/core/quote.h"

// Reading a model's config.json key by key. What is missing or of another type
// is a UserError that names the key.
namespace annuli {

template <typename T>
bool holds(const Json& json) {
  if constexpr (std::is_same_v<T, bool>) return json.is_boolean();
  if constexpr (std::is_same_v<T, int64_t>) return fits_in<T>(json);
  if constexpr (std::is_same_v<T, double>) return json.is_number();
  if constexpr (std::is_same_v<T, std::string>) return json.is_string();
}

template <typename T>
inline constexpr const char* kTypeName = "a text";
template <>
inline constexpr const char* kTypeName<bool> = "true or false";
template <>
inline constexpr const char* kTypeName<int64_t> = "an integer";
template <>
inline constexpr const char* kTypeName<double> = "a number";

// One line, whatever the value holds.
inline std::string shown(const Json& json) {
  // What python_json.h made of a special number.
  const auto special = json.find("__float__");
  if (special != json.end() && special->is_string()) {
    return quote(special->get<std::string>());
  }
  return quote(json.dump(-1, ' ', true, Json::error_handler_t::replace));
}

template <typename T>
T field(const Json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end()) {
    user_error("reading a model's config.json: no '{}', expected {}", key,
               kTypeName<T>);
  }
  if (!holds<T>(*found)) {
    user_error("reading a model's config.json: '{}' is {}, expected {}{}", key,
               shown(*found), kTypeName<T>,
               found->is_null() ? "; left out it is its class's default" : "");
  }
  return found->get<T>();
}

// Whether the key is there with a value other than null.
inline bool states(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && !found->is_null();
}

template <typename T>
T field_or(const Json& json, const char* key, T fallback) {
  return states(json, key) ? field<T>(json, key) : std::move(fallback);
}

}  // namespace annuli
