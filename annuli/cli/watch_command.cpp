#include <fmt/core.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "annuli/cli/command_inputs.h"
#include "annuli/cli/commands.h"
#include "annuli/cli/options.h"
#include "annuli/cli/stop_signals.h"
#include "annuli/cli/watch_beside.h"
#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/core/notice.h"
#include "annuli/core/say.h"
#include "annuli/core/stop_request.h"
#include "annuli/report/run_data.h"
#include "annuli/run/stopped.h"
#include "annuli/watch/server.h"

namespace annuli::cli {
namespace {

struct WatchOptions {
  std::vector<std::string> runs;
  std::string host = "127.0.0.1";
  int port = watch::kUsualPort;
};

// A run that has begun has one of these.
void require_run(const std::string& run) {
  if (!fs::is_directory(run)) {
    user_error(
        "watching {}: found no folder there, expected that of a run, for "
        "example runs/quick",
        run);
  }
  if (is_file(report::history_of(run)) ||
      is_file(fs::path(run) / "plan.yaml")) {
    return;
  }
  user_error(
      "watching {}: found neither training_history.jsonl nor plan.yaml in it, "
      "expected the folder of a run, for example runs/quick",
      run);
}

// What trains shall have the cores.
void give_way() {
  constexpr int kNice = 10;
  if (::getpriority(PRIO_PROCESS, 0) < kNice) {
    ::setpriority(PRIO_PROCESS, 0, kNice);
  }
}

// Until a signal asks to stop; returns it.
int serve(const std::vector<std::string>& runs, watch::Listener listener,
          bool says) {
  const StopSignals signals;
  give_way();
  const std::string address = listener.address();
  watch::LivePage page({runs.begin(), runs.end()});
  const watch::Server server(page, std::move(listener));
  if (says) say("watching {} at {}\n", fmt::join(runs, ", "), address);
  constexpr std::chrono::milliseconds kBetween = watch::LivePage::kBetween;
  while (stop_requested() == 0) {
    // A signal ends it, whatever its handler does.
    ::poll(nullptr, 0, static_cast<int>(kBetween.count()));
    page.refresh();
  }
  return stop_requested();
}

// As annuli run --watch starts it: the socket is there, the run may not be.
void serve_beside(const std::vector<std::string>& runs,
                  const std::string& told) {
  const size_t blank = told.find(' ');
  ANNULI_CHECK(blank != told.npos, "{} is '{}'", kWatchSocketVariable, told);
  const auto descriptor = watch::number_of(told.substr(blank + 1));
  ANNULI_CHECK(descriptor, "{} is '{}'", kWatchSocketVariable, told);
  serve(runs,
        watch::Listener::inherited(told.substr(0, blank),
                                   static_cast<int>(*descriptor)),
        /*says=*/false);
}

void watch_runs(const WatchOptions& options) {
  if (const char* told = std::getenv(kWatchSocketVariable)) {
    return serve_beside(options.runs, told);
  }
  check_runs("watching", options.runs);
  for (const std::string& run : options.runs) require_run(run);
  watch::Listener listener(options.host, options.port);
  if (!listener.is_local()) {
    notice(
        "--host {}: whoever reaches port {} of this machine can see the runs; "
        "nothing asks for a password, and nothing is encrypted",
        options.host, listener.port());
  }
  const int signal = serve(options.runs, std::move(listener), /*says=*/true);
  throw run::Stopped(signal, "stopped watching; the runs are as they were");
}

}  // namespace

void add_watch_command(CLI::App& app) {
  auto options = std::make_shared<WatchOptions>();
  CLI::App* command = app.add_subcommand(
      "watch", "Serve the page of a run, which follows it as it goes on");
  command
      ->add_option("runs", options->runs,
                   "Folders of runs: that are going on, here or on another "
                   "machine, were stopped, or have ended; they are only read")
      ->required();
  command
      ->add_option("--port", options->port,
                   "Port of the page; 0 takes one that is free")
      ->capture_default_str()
      ->check(CLI::Range(0, 65535));
  command
      ->add_option("--host", options->host,
                   "Address of this machine to serve the page at. There is no "
                   "password: with another address than 127.0.0.1 others can "
                   "see the runs")
      ->capture_default_str();
  command->footer(
      "The page is that of `annuli report`, and shows new steps within two "
      "seconds.\nIts title says what is wrong: a failed verdict, a spike of "
      "the "
      "loss, a run that\nhas stalled. It ends with Ctrl-C; the run goes on.\n"
      "Examples:\n  annuli watch runs/quick\n"
      "  annuli watch runs/seed runs/try --port 0");
  command->callback([options] { watch_runs(*options); });
}

}  // namespace annuli::cli
