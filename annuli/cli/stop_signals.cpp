#include "annuli/cli/stop_signals.h"

#include <signal.h>

#include "annuli/core/stop_request.h"

namespace annuli::cli {
namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGUSR1};

extern "C" void ask_to_stop(int signal) { request_stop(signal); }

void handle_with(void (*handler)(int), int flags) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  for (const int signal : kSignals) ::sigaction(signal, &action, nullptr);
}

}  // namespace

StopSignals::StopSignals() {
  handle_with(ask_to_stop, SA_RESTART | static_cast<int>(SA_RESETHAND));
}

StopSignals::~StopSignals() { handle_with(SIG_DFL, 0); }

}  // namespace annuli::cli
