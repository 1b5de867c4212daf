#include "annuli/cli/interrupt.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "annuli/core/error.h"

namespace annuli::cli {
namespace {

// A handler may do little more than write to a pipe; the watcher reads it.
std::array<int, 2> pipe_ends = {-1, -1};
std::atomic<bool> interrupted = false;
constexpr unsigned char kNoSignal = 0;

extern "C" void tell_watcher(int signal) {
  const int saved = errno;
  interrupted = true;
  const auto byte = static_cast<unsigned char>(signal);
  [[maybe_unused]] const auto told = ::write(pipe_ends[1], &byte, 1);
  errno = saved;
}

void handle_with(void (*handler)(int)) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

}  // namespace

OnInterrupt::OnInterrupt(std::function<void()> clean_up)
    : clean_up_(std::move(clean_up)) {
  ANNULI_CHECK(pipe_ends[0] < 0, "two OnInterrupt at once");
  ANNULI_CHECK(::pipe2(pipe_ends.data(), O_CLOEXEC) == 0,
               "no pipe for signals");
  watcher_ = std::thread([this] { wait_for_signal(); });
  handle_with(tell_watcher);
}

OnInterrupt::~OnInterrupt() {
  handle_with(SIG_DFL);
  if (!interrupted) {
    [[maybe_unused]] const auto told = ::write(pipe_ends[1], &kNoSignal, 1);
  }
  watcher_.join();
  for (int& end : pipe_ends) ::close(std::exchange(end, -1));
}

void OnInterrupt::wait_for_signal() {
  unsigned char signal = kNoSignal;
  while (::read(pipe_ends[0], &signal, 1) < 0 && errno == EINTR) {
  }
  if (signal == kNoSignal) return;
  clean_up_();
  std::fprintf(stderr, "%sannuli: interrupted, nothing was written\n",
               ::isatty(STDERR_FILENO) == 1 ? "\r\033[K" : "");
  ::_exit(128 + signal);
}

}  // namespace annuli::cli
