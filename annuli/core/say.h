#pragma once

#include <fmt/core.h>

#include <string_view>
#include <utility>

// What the program says on standard output while it works, as it happens: each
// text is flushed, and the live line (progress.h) makes way for it.
namespace annuli {

void say_text(std::string_view text);

template <typename... Args>
void say(fmt::format_string<Args...> format, Args&&... args) {
  say_text(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace annuli
