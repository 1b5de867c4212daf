#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

// One of the processes that our launcher starts (launcher.h).
//
// It runs in a process group of its own, so that what a terminal sends reaches
// the launcher alone, and is killed when the launcher ends in whatever way.
// Standard output and input of rank 0 are the launcher's, and its standard
// error; the others have no input and output, and their standard error is read
// by the launcher. Move-only; a child that still runs is killed and waited for.
namespace annuli::parallel {

struct ChildOptions {
  int64_t rank = 0;
  std::vector<std::string> arguments;  // the first is the program's own name
  std::vector<std::string> variables;  // "NAME=value", beside the launcher's
  std::vector<int> cores;              // empty: where the launcher may run
};

class Child {
 public:
  // UserError if the system starts no more.
  explicit Child(const ChildOptions& options);
  ~Child();
  Child(Child&& other) noexcept;
  Child& operator=(Child&&) = delete;

  pid_t process() const { return process_; }
  bool runs() const { return !ended_; }
  void signal(int signal) const;

  // Looks whether it has ended. True the first time that it has.
  bool reap();
  // What waitpid says, of a child that has ended.
  int wait_status() const { return *ended_; }

  // Descriptors to wait for; -1 once the child has closed them.
  int report() const { return report_.descriptor; }
  int errors() const { return errors_.descriptor; }
  // Reads what is there.
  void drain();
  const std::string& reported() const { return report_.bytes; }
  // The whole lines of its standard error since the last call.
  std::vector<std::string> error_lines();

 private:
  struct Pipe {
    int descriptor = -1;
    std::string bytes;
    void drain();
  };

  pid_t process_ = -1;
  std::optional<int> ended_;
  Pipe report_;
  Pipe errors_;
};

}  // namespace annuli::parallel
