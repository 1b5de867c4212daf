#include "annuli/cli/watch_beside.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <signal.h>

#include <chrono>
#include <cstdio>
#include <thread>

#include "annuli/core/error.h"
#include "annuli/core/notice.h"
#include "annuli/core/quote.h"
#include "annuli/core/say.h"
#include "annuli/parallel/failure_report.h"
#include "annuli/watch/listener.h"

namespace annuli::cli {
namespace {

constexpr const char* kHost = "127.0.0.1";

int port_of(const std::string& text) {
  constexpr int64_t kMost = 65535;
  if (text.empty()) return watch::kUsualPort;
  const auto port = watch::number_of(text);
  if (!port || *port > kMost) {
    user_error("--watch: found {}, expected a port from 0 to {}, or nothing",
               quote(text), kMost);
  }
  return static_cast<int>(*port);
}

}  // namespace

WatchBeside::WatchBeside(const std::string& port, const std::string& folder)
    : folder_(folder) {
  watch::Listener listener(kHost, port_of(port));
  address_ = listener.address();
  // The child inherits it; no other is started in between.
  ::fcntl(listener.descriptor(), F_SETFD, 0);
  child_.emplace(parallel::ChildOptions{
      .arguments = {"annuli", "watch", "--", folder},
      .variables = {fmt::format("{}={} {}", kWatchSocketVariable, kHost,
                                listener.descriptor())}});
  say("watching the run at {}\n", address_);
}

WatchBeside::~WatchBeside() {
  constexpr std::chrono::seconds kMost{5};
  if (child_->reap()) {
    const auto report = parallel::read_report(child_->reported());
    warn("the page at {} has ended before the run{}", address_,
         report ? ": " + report->text : "");
    return;
  }
  child_->signal(SIGTERM);
  const auto end = std::chrono::steady_clock::now() + kMost;
  while (!child_->reap() && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  const std::string line = fmt::format(
      "the page at {} has ended with the run; annuli watch {} serves it "
      "again\n",
      address_, folder_);
  std::fputs(line.c_str(), stdout);  // throws nothing
  std::fflush(stdout);
}

}  // namespace annuli::cli
