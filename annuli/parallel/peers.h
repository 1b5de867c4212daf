#pragma once

#include <sys/types.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

// Programs that are started together, for tests: each in a process group of its
// own, with the environment of this one, without what launchers set, and with
// `variables`.
namespace annuli::parallel::test {

using Words = std::vector<std::string>;
using Environment = std::map<std::string, std::string>;

struct Ended {
  int status = -1;  // exit status; 128 + n after signal n
  std::string out;
  std::string err;
};

class Program {
 public:
  Program(const Words& command, const Environment& variables);
  ~Program();  // kills it if it still runs
  Program(Program&& other) noexcept;
  Program& operator=(Program&& other) noexcept;

  pid_t process() const { return process_; }
  // Waits until it has written `line`; returns what it has written.
  std::string output_after(const std::string& line) const;
  // It is killed after two minutes.
  Ended wait();

 private:
  std::string content(const char* name) const;

  pid_t process_ = -1;
  std::filesystem::path folder_;
};

// annuli_parallel_peer with this scenario.
Words peer(const std::string& scenario);

// One for each rank, meeting in a file, or at a free port of this host.
enum class Meet { kFile, kPort };
std::vector<Environment> meeting(Meet meet, int64_t size);
std::vector<Program> start_peers(const std::vector<Environment>& environments,
                                 const std::string& scenario);
std::vector<Ended> wait_for(std::vector<Program>& programs);

// A port that nobody listens at.
int free_port();

}  // namespace annuli::parallel::test
