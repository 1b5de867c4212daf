#include "annuli/parallel/launcher.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>
#include <set>

#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/core/quote.h"
#include "annuli/parallel/child.h"
#include "annuli/parallel/cores.h"
#include "annuli/parallel/failure_report.h"
#include "annuli/parallel/launch_environment.h"
#include "annuli/parallel/peer.h"
#include "annuli/parallel/rendezvous.h"
#include "annuli/parallel/roll_call.h"

namespace annuli::parallel {
namespace {

using std::chrono::steady_clock;

constexpr int64_t kMostProcesses = 4096;
constexpr int kSignalled = 128;
constexpr std::chrono::duration<double> kAfterAll{2};

// Where the processes meet; removed with what is in it.
class MeetingFolder {
 public:
  MeetingFolder() {
    std::error_code error;
    const fs::path parent = fs::temp_directory_path(error);
    std::string name = (parent / "annuli-run-XXXXXX").string();
    if (error || ::mkdtemp(name.data()) == nullptr) {
      user_error(
          "starting processes: making {}: {}; set TMPDIR to a folder "
          "that can be written",
          quote(name), std::strerror(errno));
    }
    path_ = name;
  }
  ~MeetingFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  MeetingFolder(const MeetingFolder&) = delete;
  MeetingFolder& operator=(const MeetingFolder&) = delete;
  std::string store() const { return path_ / "store"; }

 private:
  fs::path path_;
};

// Signals of this process as bytes of a pipe, whichever thread gets them.
class Signals {
 public:
  Signals() {
    if (::pipe2(ends_.data(), O_CLOEXEC | O_NONBLOCK) != 0) {
      user_error("starting processes: {}", std::strerror(errno));
    }
    written_to = ends_[1];
    struct sigaction action = {};
    action.sa_handler = write_down;
    action.sa_flags = SA_RESTART | SA_NOCLDSTOP;
    for (size_t i = 0; i < kSignals.size(); ++i) {
      ::sigaction(kSignals[i], &action, &before_[i]);
    }
  }
  ~Signals() {
    for (size_t i = 0; i < kSignals.size(); ++i) {
      ::sigaction(kSignals[i], &before_[i], nullptr);
    }
    for (const int end : ends_) ::close(end);
  }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  int descriptor() const { return ends_[0]; }
  // One that has come; 0: no more.
  int next() const {
    char signal = 0;
    return ::read(ends_[0], &signal, 1) == 1 ? signal : 0;
  }

 private:
  static constexpr std::array kSignals = {SIGINT, SIGTERM, SIGUSR1, SIGCHLD};
  static inline int written_to = -1;
  static void write_down(int signal) {
    const int error = errno;
    const char byte = static_cast<char>(signal);
    if (::write(written_to, &byte, 1) < 0) {
      // The pipe is full of signals that nobody has looked at yet.
    }
    errno = error;
  }

  std::array<int, 2> ends_ = {};
  std::array<struct sigaction, kSignals.size()> before_ = {};
};

// As a shell gives it.
int status_of(const Child& child) {
  const int status = child.wait_status();
  return WIFSIGNALED(status) ? kSignalled + WTERMSIG(status)
                             : WEXITSTATUS(status);
}

std::string how_it_ended(const Child& child) {
  const int status = child.wait_status();
  if (WIFSIGNALED(status)) {
    return fmt::format("was killed by SIG{}", ::sigabbrev_np(WTERMSIG(status)));
  }
  return fmt::format("ended with status {}", WEXITSTATUS(status));
}

class Launch {
 public:
  Launch(int64_t processes, const std::vector<std::string>& arguments,
         double timeout);
  void wait_for_all();
  // Throws what failed; a signal that was passed on and has ended a child; 0.
  int result() const;

 private:
  void wait_for_something() const;
  void look_at_signals();
  void look_at_children();
  void expect_end(int64_t rank);
  void tell_others(int64_t rank) const;
  void print_errors(int64_t rank);
  bool any_runs() const { return std::ranges::any_of(children_, &Child::runs); }
  std::optional<LaunchFailure> own_failure() const;
  std::optional<LaunchFailure> ended_badly() const;
  std::optional<LaunchFailure> lost_another() const;
  std::optional<FailureReport> report_of(int64_t rank, FailureOf whose) const;
  std::string name(int64_t rank) const;
  int64_t count() const { return static_cast<int64_t>(children_.size()); }

  MeetingFolder folder_;
  Signals signals_;
  std::chrono::duration<double> timeout_;
  std::string host_ = this_process(0).host;
  std::vector<Child> children_;
  // When those are killed that still run after a failure.
  std::optional<steady_clock::time_point> end_;
  std::vector<int64_t> failed_;  // in their order
  std::vector<bool> killed_;     // by us
  std::set<int> passed_on_;
  std::set<std::string> printed_;
};

Launch::Launch(int64_t processes, const std::vector<std::string>& arguments,
               double timeout)
    : timeout_(timeout), killed_(processes) {
  const auto cores = divided(allowed_cores(), processes);
  for (int64_t rank = 0; rank < processes; ++rank) {
    children_.emplace_back(ChildOptions{
        .rank = rank,
        .arguments = arguments,
        .variables = {fmt::format("ANNULI_RANK={}", rank),
                      fmt::format("ANNULI_PROCESSES={}", processes),
                      "ANNULI_STORE=" + folder_.store(),
                      fmt::format("ANNULI_CORES_DIVIDED={}",
                                  cores[rank].empty() ? 0 : 1)},
        .cores = cores[rank]});
  }
}

void Launch::wait_for_something() const {
  std::vector<pollfd> all = {{signals_.descriptor(), POLLIN, 0}};
  for (const Child& child : children_) {
    for (const int descriptor : {child.report(), child.errors()}) {
      if (descriptor >= 0) all.push_back({descriptor, POLLIN, 0});
    }
  }
  constexpr int kLongest = 1000;
  ::poll(all.data(), all.size(), kLongest);
}

void Launch::look_at_signals() {
  while (const int signal = signals_.next()) {
    if (signal == SIGCHLD) continue;
    passed_on_.insert(signal);
    for (const Child& child : children_) child.signal(signal);
  }
}

void Launch::look_at_children() {
  for (int64_t rank = 0; rank < count(); ++rank) {
    Child& child = children_[rank];
    child.drain();
    const bool ended = child.reap();
    print_errors(rank);
    if (ended && child.wait_status() != 0) expect_end(rank);
  }
  if (!end_ || steady_clock::now() < *end_) return;
  for (int64_t rank = 0; rank < count(); ++rank) {
    if (!children_[rank].runs()) continue;
    killed_[rank] = true;
    children_[rank].signal(SIGKILL);
  }
}

// Who has lost another one has waited for the timeout, if that was to be waited
// for.
void Launch::expect_end(int64_t rank) {
  failed_.push_back(rank);
  const bool waited = report_of(rank, FailureOf::kAnother).has_value();
  const auto grace = std::chrono::duration_cast<steady_clock::duration>(
      waited ? kAfterAll : timeout_ + kAfterAll);
  if (!waited && !end_) tell_others(rank);
  const auto end = steady_clock::now() + grace;
  end_ = end_ ? std::min(*end_, end) : end;
}

// Those that still wait for it to come would wait for long.
void Launch::tell_others(int64_t rank) const {
  constexpr std::chrono::milliseconds kAnswer{1000};
  const auto report = report_of(rank, FailureOf::kThis);
  try {
    note_failure(*meeting_board(
                     {.size = count(), .store_file = folder_.store()}, kAnswer),
                 rank, report ? report->status : status_of(children_[rank]),
                 report ? ended_with(report->status, report->text)
                        : "it " + how_it_ended(children_[rank]));
  } catch (const std::exception&) {
    // They find out by their timeout.
  }
}

void Launch::print_errors(int64_t rank) {
  for (const std::string& line : children_[rank].error_lines()) {
    if (line.starts_with("note: ") || !printed_.insert(line).second) continue;
    std::fflush(stdout);
    fmt::print(stderr, "rank {}: {}\n", rank, one_line(line));
  }
}

void Launch::wait_for_all() {
  while (any_runs()) {
    wait_for_something();
    look_at_signals();
    look_at_children();
  }
}

std::string Launch::name(int64_t rank) const {
  return Peer{.host = host_, .process = children_[rank].process()}.name(rank);
}

std::optional<FailureReport> Launch::report_of(int64_t rank,
                                               FailureOf whose) const {
  auto report = read_report(children_[rank].reported());
  if (report && report->whose != whose) report.reset();
  return report;
}

// What all report alike is not one process' error.
std::optional<LaunchFailure> Launch::own_failure() const {
  std::optional<FailureReport> first;
  int64_t of = 0;
  int64_t alike = 0;
  for (const int64_t rank : failed_) {
    const auto report = report_of(rank, FailureOf::kThis);
    if (!report) continue;
    if (!first) {
      first = report;
      of = rank;
    }
    alike += report->text == first->text ? 1 : 0;
  }
  if (!first) return std::nullopt;
  return LaunchFailure(first->status,
                       alike == count()
                           ? first->text
                           : fmt::format("{}: {}", name(of), first->text));
}

std::optional<LaunchFailure> Launch::lost_another() const {
  for (const int64_t rank : failed_) {
    if (const auto report = report_of(rank, FailureOf::kAnother)) {
      return LaunchFailure(report->status, report->text);
    }
  }
  return std::nullopt;
}

// By a signal that is not ours, or with a status and without a word.
std::optional<LaunchFailure> Launch::ended_badly() const {
  for (const int64_t rank : failed_) {
    if (killed_[rank] || read_report(children_[rank].reported())) continue;
    const auto lost = lost_another();
    const std::string others = lost ? fmt::format("; {}", lost->what()) : "";
    return LaunchFailure(status_of(children_[rank]),
                         fmt::format("{} {}{}", name(rank),
                                     how_it_ended(children_[rank]), others));
  }
  return std::nullopt;
}

int Launch::result() const {
  if (auto failure = own_failure()) throw LaunchFailure(*failure);
  for (const Child& child : children_) {
    const int status = child.wait_status();
    if (WIFSIGNALED(status) && passed_on_.contains(WTERMSIG(status))) {
      return WTERMSIG(status);
    }
  }
  if (auto failure = ended_badly()) throw LaunchFailure(*failure);
  if (auto failure = lost_another()) throw LaunchFailure(*failure);
  return 0;
}

int run_all(int64_t processes, const std::vector<std::string>& arguments,
            double timeout) {
  Launch all(processes, arguments, timeout);
  all.wait_for_all();
  return all.result();
}

}  // namespace

int64_t process_count(const std::string& text) {
  int64_t number = 0;
  const char* end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, number);
  const bool whole = read.ec == std::errc{} && read.ptr == end;
  if (whole && 1 <= number && number <= kMostProcesses &&
      std::has_single_bit(static_cast<uint64_t>(number))) {
    return number;
  }
  const auto near = static_cast<uint64_t>(
      whole ? std::clamp<int64_t>(number, 1, kMostProcesses) : 2);
  const uint64_t below = std::bit_floor(near);
  user_error(
      "reading --processes: found {}, expected a power of two from 1 to {}; "
      "try "
      "{}{}",
      quote(text), kMostProcesses, below,
      below == near ? "" : fmt::format(" or {}", 2 * below));
}

std::vector<std::string> own_arguments_without(const std::string& option) {
  const std::string all = read_file("/proc/self/cmdline");
  std::vector<std::string> arguments;
  for (size_t begin = 0; begin < all.size();) {
    const size_t end = all.find('\0', begin);
    arguments.push_back(all.substr(begin, end - begin));
    begin = end == std::string::npos ? all.size() : end + 1;
  }
  std::vector<std::string> kept;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == option) {
      ++i;
    } else if (!arguments[i].starts_with(option + "=")) {
      kept.push_back(arguments[i]);
    }
  }
  return kept;
}

void launch(int64_t processes, const std::vector<std::string>& arguments,
            double timeout) {
  const LaunchEnvironment around = launch_environment();
  if (around.size > 1) {
    user_error(
        "starting {} processes: found that {} has started {} already, expected "
        "one of both; take --processes off",
        processes, around.launcher, around.size);
  }
  if (const int signal = run_all(processes, arguments, timeout)) {
    ::signal(signal, SIG_DFL);
    ::raise(signal);
  }
}

}  // namespace annuli::parallel
