#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/cli/program.h"

// One case of the harness: a folder, and the program run in it under faults,
// with a record of the commands that repeat it.
namespace annuli::faults {

namespace fs = std::filesystem;
using test::Outcome;

inline constexpr int kKilled = 128 + 9;

// A folder name of this process's own, in memory where there is such a place:
// what was written survives a kill on any file system, and there nothing waits
// for a disk.
fs::path work_folder();

// What a run of the program meets.
struct Surroundings {
  std::map<std::string, std::string> environment{};
  uint64_t largest_file = 0;   // bytes; 0: no limit
  uint64_t address_space = 0;  // bytes; 0: no limit
  std::string out{};           // standard output; "": kept for the outcome
  int patience = 60;           // seconds
};

// `folder` is what faults are about. Beside it stand what the program printed
// and the mark that a fault leaves when it comes.
class Script {
 public:
  // Makes the folder, and in it "tmp", where the program's own scratch files
  // go.
  explicit Script(fs::path folder);

  const fs::path& folder() const { return folder_; }

  // Runs the program in the source folder. A run that does not end in
  // time is killed and has the status -1.
  Outcome run(const std::vector<std::string>& arguments,
              const Surroundings& surroundings = {});

  // Surroundings in which the preloaded library has these orders (fault.h).
  Surroundings fault(const std::string& orders) const;
  // Whether the fault of the last run came.
  bool fault_came() const;

  // Adds a command that was carried out here, to the record.
  void note(const std::string& command) { commands_.push_back(command); }
  const std::vector<std::string>& commands() const { return commands_; }

  // Removes all that the case left.
  void clean() const;

 private:
  fs::path beside(const char* ending) const;

  fs::path folder_;
  std::vector<std::string> commands_;
};

}  // namespace annuli::faults
