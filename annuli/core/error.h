#pragma once

#include <fmt/core.h>

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

// Two families of errors, kept apart.
//
// UserError: something the user gave us is wrong (a file, a plan, a flag).
//   Its text is one line: what was being done, what was found, what was
//   expected, what to try. `main` prints it and exits with status 2.
// CheckFailure (a failed ANNULI_CHECK): a bug of ours. `main` prints it with
//   file and line and exits with status 3.
//
// VerdictError: nothing is wrong with the input or the program, but a check of
//   the model failed (a growth step that is not what it should be, a loss that
//   is not finite). `main` prints it and exits with status 1.
//
// The library never exits and never aborts.
namespace annuli {

class UserError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class VerdictError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class CheckFailure : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

// Throws UserError with a formatted text.
template <typename... Args>
[[noreturn]] void user_error(fmt::format_string<Args...> format,
                             Args&&... args) {
  throw UserError(fmt::format(format, std::forward<Args>(args)...));
}

namespace detail {
[[noreturn]] void check_failed(const char* file, int line,
                               const char* condition,
                               const std::string& message);

// Whether a format has a letter outside of its braces.
constexpr bool has_words(std::string_view format) {
  int depth = 0;
  for (const char c : format) {
    if (c == '{') ++depth;
    if (c == '}') --depth;
    if (depth == 0 && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))) {
      return true;
    }
  }
  return false;
}
}  // namespace detail

}  // namespace annuli

// ANNULI_CHECK(i < n, "layer {} of {}", i, n): an invariant of the program, and
// what was found instead. Without words it does not build.
#define ANNULI_CHECK(condition, words, ...)                    \
  do {                                                         \
    static_assert(::annuli::detail::has_words("" words),       \
                  "a check says in words what was found");     \
    if (!(condition)) [[unlikely]] {                           \
      ::annuli::detail::check_failed(                          \
          __FILE__, __LINE__, #condition,                      \
          ::fmt::format("" words __VA_OPT__(, ) __VA_ARGS__)); \
    }                                                          \
  } while (false)
