#pragma once

#include <fmt/ranges.h>

#include <concepts>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "annuli/config/plan.h"
#include "annuli/core/enum_words.h"

// What a plan's field is called, may hold and means; see plan_fields.h.
namespace annuli {

// Numbers from min to max, the ends included unless open.
struct Range {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool min_open = false;
  bool max_open = false;

  bool contains(double value) const;  // false for NaN
  std::string text() const;  // "", ">= 1", "> 0", "0 to 1", "0 to below 1"
};

constexpr Range at_least(double min) { return {.min = min}; }
constexpr Range above(double min) { return {.min = min, .min_open = true}; }
constexpr Range between(double min, double max) {
  return {.min = min, .max = max};
}
constexpr Range below_one() { return {.min = 0, .max = 1, .max_open = true}; }

// T is S or const S: one list serves readers and writers.
template <typename T, typename S>
concept Is = std::same_as<std::remove_const_t<T>, S>;

// What kind of member T is.
template <typename T>
constexpr bool kIsOptional = false;
template <typename T>
constexpr bool kIsOptional<std::optional<T>> = true;

template <typename T>
constexpr bool kIsList = false;
template <typename T>
constexpr bool kIsList<std::vector<T>> = true;

// True for a struct that has fields of its own.
template <typename T>
concept Section = std::is_class_v<T> && !kIsOptional<T> && !kIsList<T> &&
                  !std::is_same_v<T, std::string> &&
                  !std::is_same_v<T, std::map<std::string, std::string>>;

template <typename T>
constexpr bool kIsSectionList = false;
template <Section T>
constexpr bool kIsSectionList<std::vector<T>> = true;

template <typename T>
constexpr bool kIsOptionalSection = false;
template <Section T>
constexpr bool kIsOptionalSection<std::optional<T>> = true;

struct Field {
  const char* name;
  const char* help;
  Range range = {};
  bool required = false;
  // Fields of the same section any of which may stand in its place.
  std::vector<std::string> instead = {};
  bool hashed = true;  // false: where and how a run happens, not what it is
  // True: what counts only where it is not the default, so that plans without
  // it have the hash that they had before there was such a field.
  bool hashed_if_set = false;
  // What stands in the hash for a number that is not given, so that plans have
  // the hash that they had before it could be left out. NaN: null does.
  double hashed_unset = std::numeric_limits<double>::quiet_NaN();
};

// A list of an enumeration's values.
template <typename T>
constexpr bool kIsWordList = false;
template <typename Enum>
constexpr bool kIsWordList<std::vector<Enum>> = std::is_enum_v<Enum>;

// "attention,router"
template <typename Enum>
std::string comma_list_of(const std::vector<Enum>& values) {
  std::vector<std::string_view> words;
  for (const Enum value : values) words.push_back(word_of(value));
  return fmt::format("{}", fmt::join(words, ","));
}

// "carry|reset"
template <typename Enum>
std::string words_of() {
  return fmt::format("{}", fmt::join(EnumWords<Enum>::kWords, "|"));
}

}  // namespace annuli
