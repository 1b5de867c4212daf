#pragma once

#include <fmt/core.h>

#include <string>
#include <utility>

// What the user should know and need not act on: something in the input was
// passed over, taken off or guessed. One line on standard error, "note: ...",
// and each text once in the life of the process, however often it is found out.
namespace annuli {

void print_notice(const std::string& text);

template <typename... Args>
void notice(fmt::format_string<Args...> format, Args&&... args) {
  print_notice(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace annuli
