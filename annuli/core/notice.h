#pragma once

#include <fmt/core.h>

#include <string>
#include <utility>

// What the user should know, one line on standard error, each text once in the
// life of the process, however often it is found out.
//
// A notice, "note: ...", need not be acted on: something in the input was
// passed over, taken off or guessed. A warning, "warning: ...", is of what the
// user may not want: something was lost, or will not do what it is there for.
namespace annuli {

// Of several processes that work together: from now on this one's warnings
// begin with its name, and its notices are dropped, for the first of them reads
// the same inputs and says the same.
void name_speaker(const std::string& name);

// Whether no such name was given: this one shows what all of them do.
bool speaks_for_all();

void print_notice(const std::string& text);
void print_warning(const std::string& text);

template <typename... Args>
void notice(fmt::format_string<Args...> format, Args&&... args) {
  print_notice(fmt::format(format, std::forward<Args>(args)...));
}

template <typename... Args>
void warn(fmt::format_string<Args...> format, Args&&... args) {
  print_warning(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace annuli
