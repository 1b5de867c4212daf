// Mutants that are compiled all at once and switched on one at a time: what
// tools/mutate writes into its copy of a source. ANNULI_MUTANT is the number of the
// one that is on; the numbers that are come past go into the file ANNULI_REACHED.
//
//   a < b     becomes  a < Less(7) < b, of the same precedence: `<`, or `<=`
//   7         becomes  more(7, 7)
//   true      becomes  turned(7, true), and so do conditions
//   x += y    becomes  x += negated(7, y)
//
// A change that no compiler would take (a string minus another) is told as the
// negative number.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <string>

namespace mutants {

inline constexpr int kMost = 100000;

inline void tell(int number) {
  static const char* path = std::getenv("ANNULI_REACHED");
  if (path == nullptr) return;
  const int file = ::open(path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0644);
  const std::string line = std::to_string(number) + "\n";
  if (::write(file, line.data(), line.size()) < 0) ::abort();
  ::close(file);
}

inline bool on(int number) {
  static const char* chosen = std::getenv("ANNULI_MUTANT");
  static const int is_on = chosen == nullptr ? 0 : std::atoi(chosen);
  static std::atomic<bool> told[kMost];
  if (!told[number].exchange(true)) tell(number);
  return number == is_on;
}

template <typename T>
T more(int number, T value) {
  return on(number) ? static_cast<T>(value + 1) : value;
}

inline bool turned(int number, bool value) { return on(number) != value; }

template <typename T>
auto negated(int number, const T& value) {
  if constexpr (requires { -value; }) {
    using Result = decltype(true ? value : -value);
    return on(number) ? Result(-value) : Result(value);
  } else {
    tell(-number);
    return value;
  }
}

template <typename T>
T& stepped(int number, T& value) {
  return on(number) ? --value : ++value;
}

// The lesser of two where the greater is meant, and the other way round.
struct Greater {
  int number;
  template <typename T>
  T operator()(const T& a, const T& b) const {
    return (a < b) != on(number) ? b : a;
  }
};
struct Lesser {
  int number;
  template <typename T>
  T operator()(const T& a, const T& b) const {
    return (b < a) != on(number) ? b : a;
  }
};

#define ANNULI_SWITCHED(NAME, OP, OTHER)                                      \
  struct NAME {                                                               \
    explicit NAME(int n) : number(n) {}                                       \
    int number;                                                               \
  };                                                                          \
  template <typename A>                                                       \
  struct NAME##Left {                                                         \
    const A& a;                                                               \
    int number;                                                               \
    template <typename B>                                                     \
    friend auto operator OP(const NAME##Left& left, const B& b) {             \
      using Result = decltype(left.a OP b);                                   \
      if constexpr (requires { Result(left.a OTHER b); }) {                   \
        return on(left.number) ? Result(left.a OTHER b) : Result(left.a OP b); \
      } else {                                                                \
        tell(-left.number);                                                   \
        return left.a OP b;                                                   \
      }                                                                       \
    }                                                                         \
  };                                                                          \
  template <typename A>                                                       \
  NAME##Left<A> operator OP(const A& a, NAME which) {                         \
    return {a, which.number};                                                 \
  }

ANNULI_SWITCHED(Less, <, <=)
ANNULI_SWITCHED(AtMost, <=, <)
ANNULI_SWITCHED(More, >, >=)
ANNULI_SWITCHED(AtLeast, >=, >)
ANNULI_SWITCHED(Equal, ==, !=)
ANNULI_SWITCHED(Unequal, !=, ==)
ANNULI_SWITCHED(Plus, +, -)
ANNULI_SWITCHED(Minus, -, +)
ANNULI_SWITCHED(Times, *, /)
ANNULI_SWITCHED(Over, /, *)

#undef ANNULI_SWITCHED

}  // namespace mutants
