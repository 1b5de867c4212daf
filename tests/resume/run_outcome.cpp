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
#include "annuli/train/history.h"

namespace annuli::test {
namespace {

namespace fs = std::filesystem;

pid_t start(const std::vector<std::string>& arguments) {
  const pid_t child = ::fork();
  ANNULI_CHECK(child >= 0);
  if (child > 0) return child;
  std::vector<char*> argv = {const_cast<char*>(ANNULI_PROGRAM)};
  for (const std::string& argument : arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  const int null = ::open("/dev/null", O_WRONLY);
  ::dup2(null, STDOUT_FILENO);
  if (::chdir(ANNULI_SOURCE_DIR) == 0) ::execv(ANNULI_PROGRAM, argv.data());
  ::_exit(127);
}

size_t count_lines(const fs::path& path) {
  std::ifstream file(path);
  return static_cast<size_t>(std::count(std::istreambuf_iterator<char>(file),
                                        std::istreambuf_iterator<char>(),
                                        '\n'));
}

// Waits until `due` or the end of the child; kills it if it still runs.
template <typename Due>
bool kill_when(pid_t child, Due due) {
  for (;;) {
    int status = 0;
    if (::waitpid(child, &status, WNOHANG) == child) return false;
    if (due()) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  return true;
}

}  // namespace

RunOutcome outcome_of(const fs::path& run) {
  RunOutcome outcome;
  for (nlohmann::json record :
       train::read_history(run / "training_history.jsonl")) {
    for (const char* key :
         {"seconds", "tokens_per_second", "peak_memory_bytes"}) {
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

bool run_for(const std::vector<std::string>& arguments, int milliseconds) {
  const auto end = std::chrono::steady_clock::now() +
                   std::chrono::milliseconds(milliseconds);
  return kill_when(start(arguments),
                   [&] { return std::chrono::steady_clock::now() >= end; });
}

}  // namespace annuli::test
