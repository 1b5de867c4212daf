#pragma once

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "annuli/config/plan.h"

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
constexpr bool kIsOptionalSection = false;
template <Section T>
constexpr bool kIsOptionalSection<std::optional<T>> = true;

struct Field {
  const char* name;
  const char* help;
  Range range = {};
  bool required = false;
  bool hashed = true;  // false: where and how a run happens, not what it is
  // True: what counts only where it is given, so that plans without it
  // have the hash that they had before there was such a field.
  bool hashed_if_set = false;
  // What stands in the hash for a number that is not given, so that plans have
  // the hash that they had before it could be left out. NaN: null does.
  double hashed_unset = std::numeric_limits<double>::quiet_NaN();
};

// The words that stand for an enumeration's values, in the order of its
// declaration.
template <typename Enum>
struct EnumWords;

#define ANNULI_ENUM_WORDS(ENUM, ...)                    \
  template <>                                           \
  struct EnumWords<ENUM> {                              \
    static constexpr auto kWords =                      \
        std::to_array<std::string_view>({__VA_ARGS__}); \
  }

ANNULI_ENUM_WORDS(QkNorm, "none", "head", "full");
ANNULI_ENUM_WORDS(NormPlacement, "pre", "post");
ANNULI_ENUM_WORDS(NormType, "rms", "layer");
ANNULI_ENUM_WORDS(Precision, "fp32", "fp64", "bf16-mixed", "bf16");
ANNULI_ENUM_WORDS(DeviceChoice, "auto", "cpu", "cuda");
ANNULI_ENUM_WORDS(OptimizerType, "adamw", "adamw_8bit", "adafactor", "sgd");
ANNULI_ENUM_WORDS(StateDtype, "fp32", "bf16");
ANNULI_ENUM_WORDS(OnFailure, "stop", "rollback");
ANNULI_ENUM_WORDS(RouterInit, "random", "mean-orthogonal", "zero");
ANNULI_ENUM_WORDS(ShardScale, "down", "up-and-down");
ANNULI_ENUM_WORDS(WidenHead, "untie", "fold", "multiplier");
ANNULI_ENUM_WORDS(DeepenPreset, "copy-last", "stack", "interpose", "middle",
                  "zero-output");
ANNULI_ENUM_WORDS(DeepenOutputs, "zero", "keep");
ANNULI_ENUM_WORDS(MatrixGroup, "attention", "feed-forward", "router",
                  "embedding");
ANNULI_ENUM_WORDS(OptimizerState, "carry", "reset");
ANNULI_ENUM_WORDS(Dynamics, "plain", "exact");
ANNULI_ENUM_WORDS(ClipNorm, "whole", "two_pass", "previous_norm");
ANNULI_ENUM_WORDS(LrSchedulerType, "constant", "linear", "cosine", "wsd");

#undef ANNULI_ENUM_WORDS

template <>
struct EnumWords<Activation> {
  static constexpr auto kWords = kActivationWords;
};

template <typename Enum>
std::string_view word_of(Enum value) {
  return EnumWords<Enum>::kWords[static_cast<size_t>(value)];
}

// Nothing if no value has that word.
template <typename Enum>
std::optional<Enum> value_of(std::string_view word) {
  const auto& words = EnumWords<Enum>::kWords;
  const auto found = std::ranges::find(words, word);
  if (found == words.end()) return std::nullopt;
  return static_cast<Enum>(found - words.begin());
}

// A list of an enumeration's values.
template <typename T>
constexpr bool kIsWordList = false;
template <typename Enum>
constexpr bool kIsWordList<std::vector<Enum>> = std::is_enum_v<Enum>;

// "attention,router"
template <typename Enum>
std::string comma_list_of(const std::vector<Enum>& values) {
  std::string all;
  for (const Enum value : values) {
    all.append(all.empty() ? "" : ",").append(word_of(value));
  }
  return all;
}

// "carry|reset"
template <typename Enum>
std::string words_of() {
  std::string all;
  for (const std::string_view word : EnumWords<Enum>::kWords) {
    all.append(all.empty() ? "" : "|").append(word);
  }
  return all;
}

}  // namespace annuli
