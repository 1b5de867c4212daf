#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

// The words that stand for an enumeration's values in plans, flags and files,
// in the order of its declaration. They stand beside the enumeration, in
// namespace annuli:
//
//   enum class Direction { kUp, kUpAndDown };
//   ANNULI_ENUM_WORDS(Direction, "up", "up-and-down");
namespace annuli {

template <typename Enum>
struct EnumWords;

#define ANNULI_ENUM_WORDS(ENUM, ...)                    \
  template <>                                           \
  struct EnumWords<ENUM> {                              \
    static constexpr auto kWords =                      \
        std::to_array<std::string_view>({__VA_ARGS__}); \
  }

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

}  // namespace annuli
