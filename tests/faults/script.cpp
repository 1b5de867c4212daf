#include "tests/faults/script.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <stdexcept>
#include <thread>
#include <utility>

#include "annuli/core/file.h"

namespace annuli::faults {
namespace {

// All that the child needs after fork: pointers into strings made before.
struct Launch {
  std::vector<std::string> words;
  std::vector<std::string> environment;
  std::vector<char*> argv;
  std::vector<char*> envp;
  std::string out;
  std::string err;
  rlim_t largest_file;
  rlim_t address_space;
};

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> result;
  for (std::string& word : words) result.push_back(word.data());
  result.push_back(nullptr);
  return result;
}

std::vector<std::string> merged(
    const std::map<std::string, std::string>& changes) {
  std::vector<std::string> result;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    if (!changes.contains(text.substr(0, text.find('=')))) {
      result.push_back(text);
    }
  }
  for (const auto& [name, value] : changes)
    result.push_back(name + "=" + value);
  return result;
}

void redirect(int descriptor, const std::string& path) {
  const int file = ::open(path.c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0600);
  if (file < 0 || ::dup2(file, descriptor) < 0) ::_exit(126);
  ::close(file);
}

void limit(int resource, rlim_t bytes) {
  const rlimit limits{bytes, bytes};
  if (bytes != RLIM_INFINITY && ::setrlimit(resource, &limits) != 0) {
    ::_exit(126);
  }
}

// Between fork and exec: no more than system calls.
[[noreturn]] void become_program(const Launch& launch) {
  redirect(STDOUT_FILENO, launch.out);
  redirect(STDERR_FILENO, launch.err);
  if (::chdir(ANNULI_SOURCE_DIR) != 0) ::_exit(126);
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  limit(RLIMIT_FSIZE, launch.largest_file);
  limit(RLIMIT_AS, launch.address_space);
  ::execve(ANNULI_PROGRAM, launch.argv.data(), launch.envp.data());
  ::_exit(127);
}

int status_of(pid_t child, int patience) {
  const auto end =
      std::chrono::steady_clock::now() + std::chrono::seconds(patience);
  int status = 0;
  while (::waitpid(child, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > end) {
      ::kill(child, SIGKILL);
      ::waitpid(child, &status, 0);
      return -1;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// Surroundings and arguments as a line for the shell.
std::string command_line(const std::vector<std::string>& words,
                         const Surroundings& surroundings) {
  std::string line;
  if (surroundings.largest_file != 0) {
    line += fmt::format("prlimit --fsize={} ", surroundings.largest_file);
  }
  if (surroundings.address_space != 0) {
    line += fmt::format("prlimit --as={} ", surroundings.address_space);
  }
  if (!surroundings.environment.empty()) line += "env ";
  for (const auto& [name, value] : surroundings.environment) {
    line += name + "=" + value + " ";
  }
  for (const std::string& word : words) {
    const bool plain = word.find_first_of(" []{}'") == std::string::npos;
    line += (plain ? word : "\"" + word + "\"") + " ";
  }
  if (!surroundings.out.empty()) line += ">" + surroundings.out;
  return line;
}

}  // namespace

fs::path work_folder() {
  constexpr const char* kMemory = "/dev/shm";
  const bool writable = ::access(kMemory, W_OK | X_OK) == 0;
  return (writable ? fs::path(kMemory) : fs::temp_directory_path()) /
         fmt::format("annuli-faults-{}", ::getpid());
}

Script::Script(fs::path folder) : folder_(std::move(folder)) {
  fs::create_directories(folder_ / "tmp");
  note("mkdir -p " + (folder_ / "tmp").string());
}

fs::path Script::beside(const char* ending) const {
  fs::path path = folder_;
  path += ending;
  return path;
}

Outcome Script::run(const std::vector<std::string>& arguments,
                    const Surroundings& surroundings) {
  const std::string out = beside(".out").string();
  Launch launch{.words = {ANNULI_PROGRAM},
                .out = surroundings.out.empty() ? out : surroundings.out,
                .err = beside(".err").string(),
                .largest_file = surroundings.largest_file == 0
                                    ? RLIM_INFINITY
                                    : surroundings.largest_file,
                .address_space = surroundings.address_space == 0
                                     ? RLIM_INFINITY
                                     : surroundings.address_space};
  launch.words.insert(launch.words.end(), arguments.begin(), arguments.end());
  note(command_line(launch.words, surroundings));
  std::map<std::string, std::string> changes = surroundings.environment;
  changes["TMPDIR"] = (folder_ / "tmp").string();
  // Cases run side by side, so waiting threads must not spin.
  changes["OMP_WAIT_POLICY"] = "passive";
  if (surroundings.largest_file != 0) {
    changes["LLVM_PROFILE_FILE"] = "/dev/null";  // counts that do not fit
  }
  launch.environment = merged(changes);
  launch.argv = pointers(launch.words);
  launch.envp = pointers(launch.environment);
  fs::remove(beside(".fired"));

  const pid_t child = ::fork();
  if (child < 0) throw std::runtime_error("fork failed");
  if (child == 0) become_program(launch);
  const int status = status_of(child, surroundings.patience);
  return {.status = status,
          .out = surroundings.out.empty() ? read_file(out) : "",
          .err = read_file(launch.err)};
}

Surroundings Script::fault(const std::string& orders) const {
  return {.environment = {{"LD_PRELOAD", ANNULI_FAULT_LIBRARY},
                          {"ANNULI_FAULT_FOLDER", folder_.string()},
                          {"ANNULI_FAULT_FIRED", beside(".fired").string()},
                          {"ANNULI_FAULT", orders}}};
}

bool Script::fault_came() const { return fs::exists(beside(".fired")); }

void Script::clean() const {
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
  for (const char* ending : {".out", ".err", ".fired"}) {
    fs::remove(beside(ending), ignored);
  }
}

}  // namespace annuli::faults
