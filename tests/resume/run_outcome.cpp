#include "tests/resume/run_outcome.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iterator>
#include <thread>

#include "annuli/checkpoint/lineage.h"
#include "annuli/core/error.h"
#include "annuli/core/json.h"
#include "annuli/train/history.h"

namespace annuli::test {
namespace {

namespace fs = std::filesystem;

pid_t start(const std::vector<std::string>& arguments,
            const fs::path& errors = {}) {
  const pid_t child = ::fork();
  ANNULI_CHECK(child >= 0, "no process for {}", arguments.front());
  if (child > 0) return child;
  std::vector<char*> argv = {const_cast<char*>(ANNULI_PROGRAM)};
  for (const std::string& argument : arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  const int null = ::open("/dev/null", O_WRONLY);
  ::dup2(null, STDOUT_FILENO);
  if (!errors.empty()) {
    ::dup2(::open(errors.c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0600),
           STDERR_FILENO);
  }
  if (::chdir(ANNULI_SOURCE_DIR) == 0) ::execv(ANNULI_PROGRAM, argv.data());
  ::_exit(127);
}

size_t count_lines(const fs::path& path) {
  std::ifstream file(path);
  return static_cast<size_t>(std::count(std::istreambuf_iterator<char>(file),
                                        std::istreambuf_iterator<char>(),
                                        '\n'));
}

// Waits until `due` or the end of the child, which is sent the signal if it
// still runs; its status as wait() tells it.
template <typename Due>
int signal_when(pid_t child, Due due, int signal) {
  int status = 0;
  for (;;) {
    if (::waitpid(child, &status, WNOHANG) == child) return status;
    if (due()) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ::kill(child, signal);
  ::waitpid(child, &status, 0);
  return status;
}

// True if it was killed before it ended.
template <typename Due>
bool kill_when(pid_t child, Due due) {
  return WIFSIGNALED(signal_when(child, due, SIGKILL));
}

}  // namespace

RunOutcome outcome_of(const fs::path& run) {
  RunOutcome outcome;
  for (Json record : train::read_history(run / "training_history.jsonl")) {
    for (const char* key : {"seconds", "proof_seconds", "tokens_per_second",
                            "peak_memory_bytes"}) {
      record.erase(key);
    }
    outcome.history.push_back(std::move(record));
  }
  for (const LineageRecord& record : read_lineage(run / "lineage.json")) {
    outcome.hashes.push_back(record.child);
  }
  return outcome;
}

std::vector<std::string> run_arguments(const std::string& plan,
                                       const fs::path& scratch,
                                       const std::string& folder,
                                       const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {
      "run",   plan,
      "--out", (scratch / folder).string(),
      "--set", "data.cache_dir=" + (scratch / "tokens").string()};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

bool run_until(const std::vector<std::string>& arguments,
               const fs::path& history, size_t lines) {
  return kill_when(start(arguments),
                   [&] { return count_lines(history) >= lines; });
}

bool run_until(const std::vector<std::string>& arguments,
               const std::function<bool()>& due) {
  return kill_when(start(arguments), due);
}

Outcome signal_at(const std::vector<std::string>& arguments,
                  const fs::path& history, size_t lines, int signal,
                  const fs::path& scratch) {
  const fs::path errors = scratch / "errors";
  const int status = signal_when(
      start(arguments, errors), [&] { return count_lines(history) >= lines; },
      signal);
  std::ifstream said(errors);
  return {.status =
              WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
          .out = "",
          .err = std::string(std::istreambuf_iterator<char>(said), {})};
}

bool run_for(const std::vector<std::string>& arguments, int milliseconds) {
  const auto end = std::chrono::steady_clock::now() +
                   std::chrono::milliseconds(milliseconds);
  return kill_when(start(arguments),
                   [&] { return std::chrono::steady_clock::now() >= end; });
}

}  // namespace annuli::test
