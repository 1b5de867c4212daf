#include "annuli/parallel/child.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <set>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/parallel/failure_report.h"

namespace annuli::parallel {
namespace {

std::array<int, 2> new_pipe(int64_t rank) {
  std::array<int, 2> ends = {};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    user_error("starting process {}: {}", rank, std::strerror(errno));
  }
  ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
  return ends;
}

std::string own_program() {
  std::error_code error;
  const auto path = std::filesystem::read_symlink("/proc/self/exe", error);
  // A program that was replaced meanwhile is still there by this name.
  if (error || !std::filesystem::exists(path, error)) return "/proc/self/exe";
  return path.string();
}

std::vector<std::string> environment_with(
    const std::vector<std::string>& variables) {
  const auto name_of = [](const std::string& text) {
    return text.substr(0, text.find('='));
  };
  std::set<std::string> set;
  for (const std::string& variable : variables) set.insert(name_of(variable));
  std::vector<std::string> all = variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (!set.contains(name_of(*entry))) all.push_back(*entry);
  }
  return all;
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> all;
  for (std::string& word : words) all.push_back(word.data());
  all.push_back(nullptr);
  return all;
}

// What the child does between fork and exec, where no more than system calls
// are allowed: all is made ready before.
struct Start {
  std::string program;
  std::vector<char*> arguments;
  std::vector<char*> environment;
  cpu_set_t cores;
  bool bind = false;
  bool first = false;
  pid_t launcher = 0;
  int report = -1;
  int errors = -1;

  [[noreturn]] void operator()() const {
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != launcher) ::_exit(127);  // it has ended before that
    if (bind) ::sched_setaffinity(0, sizeof(cores), &cores);
    ::fcntl(report, F_SETFD, 0);
    if (!first) {
      const int nowhere = ::open("/dev/null", O_RDWR);
      ::dup2(nowhere, STDIN_FILENO);
      ::dup2(nowhere, STDOUT_FILENO);
      ::dup2(errors, STDERR_FILENO);
    }
    ::execve(program.c_str(), arguments.data(), environment.data());
    ::_exit(127);
  }
};

}  // namespace

Child::Child(const ChildOptions& options) {
  const auto report = new_pipe(options.rank);
  report_.descriptor = report[0];
  const auto errors = new_pipe(options.rank);
  errors_.descriptor = errors[0];
  std::vector<std::string> arguments = options.arguments;
  std::vector<std::string> variables = options.variables;
  variables.push_back(fmt::format("{}={}", kReportVariable, report[1]));
  std::vector<std::string> environment = environment_with(variables);
  Start start = {.program = own_program(),
                 .arguments = pointers(arguments),
                 .environment = pointers(environment),
                 .bind = !options.cores.empty(),
                 .first = options.rank == 0,
                 .launcher = ::getpid(),
                 .report = report[1],
                 .errors = errors[1]};
  CPU_ZERO(&start.cores);
  for (const int core : options.cores) {
    if (core < CPU_SETSIZE) CPU_SET(core, &start.cores);
  }
  process_ = ::fork();
  if (process_ == 0) start();
  const int error = errno;
  ::close(report[1]);
  ::close(errors[1]);
  if (process_ < 0) {
    ::close(report[0]);
    ::close(errors[0]);
    user_error("starting process {}: {}; is their number limited here?",
               options.rank, std::strerror(error));
  }
  ::setpgid(process_, process_);  // whichever of the two comes first
}

Child::Child(Child&& other) noexcept
    : process_(std::exchange(other.process_, -1)),
      ended_(other.ended_),
      report_(std::exchange(other.report_, {})),
      errors_(std::exchange(other.errors_, {})) {}

Child::~Child() {
  if (process_ > 0 && !ended_) {
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
  }
  for (const int descriptor : {report_.descriptor, errors_.descriptor}) {
    if (descriptor >= 0) ::close(descriptor);
  }
}

void Child::signal(int signal) const {
  if (!ended_) ::kill(process_, signal);
}

bool Child::reap() {
  int status = 0;
  if (ended_ || ::waitpid(process_, &status, WNOHANG) != process_) return false;
  ended_ = status;
  drain();
  return true;
}

void Child::Pipe::drain() {
  std::array<char, 4096> part = {};
  while (descriptor >= 0) {
    const ssize_t size = ::read(descriptor, part.data(), part.size());
    if (size > 0) {
      bytes.append(part.data(), static_cast<size_t>(size));
    } else if (size < 0 && errno == EINTR) {
      continue;
    } else if (size < 0 && errno == EAGAIN) {
      return;
    } else {
      ::close(std::exchange(descriptor, -1));
    }
  }
}

void Child::drain() {
  report_.drain();
  errors_.drain();
}

std::vector<std::string> Child::error_lines() {
  std::vector<std::string> lines;
  std::string& bytes = errors_.bytes;
  // The last line of a child that has ended may lack its end.
  if (ended_ && !bytes.empty() && bytes.back() != '\n') bytes += '\n';
  for (size_t end = 0; (end = bytes.find('\n')) != std::string::npos;) {
    lines.push_back(bytes.substr(0, end));
    bytes.erase(0, end + 1);
  }
  return lines;
}

}  // namespace annuli::parallel
