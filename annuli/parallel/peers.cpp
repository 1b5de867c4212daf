#include "annuli/parallel/peers.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <utility>

namespace annuli::parallel::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::steady_clock;

constexpr std::chrono::seconds kLongest{120};
constexpr std::chrono::milliseconds kBetweenLooks{20};

fs::path new_folder() {
  std::string name =
      (fs::temp_directory_path() / "annuli-peer-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no folder");
  return name;
}

// A folder for as long as the tests run.
fs::path lasting_folder() {
  struct Folders {
    std::vector<fs::path> all;
    ~Folders() {
      std::error_code ignored;
      for (const fs::path& folder : all) fs::remove_all(folder, ignored);
    }
  };
  static Folders folders;
  return folders.all.emplace_back(new_folder());
}

bool of_a_launcher(const std::string& name) {
  for (const char* start : {"ANNULI_", "OMPI_", "PMIX_", "SLURM_", "GLOO_",
                            "TORCHELASTIC_", "MASTER_", "LOCAL_"}) {
    if (name.starts_with(start)) return true;
  }
  return name == "RANK" || name == "WORLD_SIZE";
}

Words surroundings(const Environment& variables) {
  Words all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const std::string name = text.substr(0, text.find('='));
    if (!of_a_launcher(name) && !variables.contains(name)) all.push_back(text);
  }
  for (const auto& [name, value] : variables) all.push_back(name + "=" + value);
  return all;
}

std::vector<char*> pointers(Words& words) {
  std::vector<char*> all;
  for (std::string& word : words) all.push_back(word.data());
  all.push_back(nullptr);
  return all;
}

}  // namespace

Program::Program(const Words& command, const Environment& variables)
    : folder_(new_folder()) {
  Words words = command;
  Words settings = surroundings(variables);
  const std::vector<char*> arguments = pointers(words);
  const std::vector<char*> environment = pointers(settings);
  const std::string out = folder_ / "out";
  const std::string err = folder_ / "err";
  process_ = ::fork();
  if (process_ < 0) throw std::runtime_error("fork failed");
  ::setpgid(process_, process_);
  if (process_ > 0) return;
  ::setpgid(0, 0);
  constexpr int kFlags = O_CREAT | O_WRONLY | O_APPEND;
  ::dup2(::open(out.c_str(), kFlags, 0600), STDOUT_FILENO);
  ::dup2(::open(err.c_str(), kFlags, 0600), STDERR_FILENO);
  ::execvpe(arguments[0], arguments.data(), environment.data());
  ::_exit(127);
}

Program::Program(Program&& other) noexcept
    : process_(std::exchange(other.process_, -1)),
      folder_(std::exchange(other.folder_, {})) {}

Program& Program::operator=(Program&& other) noexcept {
  std::swap(process_, other.process_);
  std::swap(folder_, other.folder_);
  return *this;
}

Program::~Program() {
  if (process_ > 0) {
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
  }
  std::error_code ignored;
  if (!folder_.empty()) fs::remove_all(folder_, ignored);
}

std::string Program::content(const char* name) const {
  std::ifstream file(folder_ / name, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string Program::output_after(const std::string& line) const {
  const auto end = steady_clock::now() + kLongest;
  while (content("out").find(line) == std::string::npos) {
    if (steady_clock::now() > end) throw std::runtime_error("no " + line);
    std::this_thread::sleep_for(kBetweenLooks);
  }
  return content("out");
}

Ended Program::wait() {
  const auto end = steady_clock::now() + kLongest;
  int status = 0;
  while (::waitpid(process_, &status, WNOHANG) == 0) {
    if (steady_clock::now() > end) ::kill(process_, SIGKILL);
    std::this_thread::sleep_for(kBetweenLooks);
  }
  process_ = -1;
  return {.status =
              WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
          .out = content("out"),
          .err = content("err")};
}

Words peer(const std::string& scenario) {
  Words words = {ANNULI_PARALLEL_PEER};
  std::istringstream all(scenario);
  for (std::string word; all >> word;) words.push_back(word);
  return words;
}

std::vector<Environment> meeting(Meet meet, int64_t size) {
  const std::string port = fmt::format("{}", free_port());
  const std::string file = lasting_folder() / "store";
  std::vector<Environment> all;
  for (int64_t rank = 0; rank < size; ++rank) {
    const std::string own = fmt::format("{}", rank);
    const std::string number = fmt::format("{}", size);
    if (meet == Meet::kFile) {
      all.push_back({{"ANNULI_RANK", own},
                     {"ANNULI_PROCESSES", number},
                     {"ANNULI_STORE", file}});
    } else {
      all.push_back({{"RANK", own},
                     {"WORLD_SIZE", number},
                     {"MASTER_ADDR", "127.0.0.1"},
                     {"MASTER_PORT", port}});
    }
  }
  return all;
}

std::vector<Program> start_peers(const std::vector<Environment>& environments,
                                 const std::string& scenario) {
  std::vector<Program> programs;
  for (const Environment& one : environments) {
    programs.emplace_back(peer(scenario), one);
  }
  return programs;
}

std::vector<Ended> wait_for(std::vector<Program>& programs) {
  std::vector<Ended> all;
  for (Program& program : programs) all.push_back(program.wait());
  return all;
}

int free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* plain = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof(address);
  ::bind(socket, plain, size);
  ::getsockname(socket, plain, &size);
  ::close(socket);
  return ntohs(address.sin_port);
}

}  // namespace annuli::parallel::test
