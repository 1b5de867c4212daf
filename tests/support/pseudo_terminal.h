#pragma once

#include <fcntl.h>
#include <pty.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>

namespace annuli::test {

// What a terminal gets that is standard output and standard error of `work`; at
// most what fits into its buffer, 4 kB. Colours are off by NO_COLOR.
inline std::string on_a_terminal(bool color,
                                 const std::function<void()>& work) {
  int reader = -1;
  int terminal = -1;
  if (::openpty(&reader, &terminal, nullptr, nullptr, nullptr) != 0) return "";
  ::fcntl(reader, F_SETFL, O_NONBLOCK);
  std::fflush(stdout);
  const std::array<int, 2> streams = {STDOUT_FILENO, STDERR_FILENO};
  std::array<int, 2> saved{};
  for (size_t i = 0; i < streams.size(); ++i) {
    saved[i] = ::dup(streams[i]);
    ::dup2(terminal, streams[i]);
  }
  ::setenv("TERM", "xterm", 1);
  ::setenv("NO_COLOR", color ? "" : "1", 1);
  work();
  std::fflush(stdout);
  for (size_t i = 0; i < streams.size(); ++i) {
    ::dup2(saved[i], streams[i]);
    ::close(saved[i]);
  }
  std::string text;
  std::array<char, 1024> piece{};
  for (ssize_t count;
       (count = ::read(reader, piece.data(), piece.size())) > 0;) {
    text.append(piece.data(), static_cast<size_t>(count));
  }
  ::close(reader);
  ::close(terminal);
  return text;
}

}  // namespace annuli::test
