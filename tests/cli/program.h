#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "annuli/core/folder_for_tests.h"

// The program as a child process.
namespace annuli::test {

namespace fs = std::filesystem;

struct Outcome {
  int status = -1;  // exit status; 128 + n after signal n
  std::string out;
  std::string err;
};

// What the program is up against.
struct Surroundings {
  uint64_t file_bytes = 0;  // largest file it may write; 0: any
};

// Runs the program with these arguments in the source folder (plans name their
// text relative to it), TMPDIR set to `scratch`.
Outcome run_program(const std::vector<std::string>& arguments,
                    const fs::path& scratch,
                    const Surroundings& surroundings = {});

class ScratchFolder : public TestFolder {
 public:
  std::string file(const std::string& name) const {
    return (*this / name).string();
  }
  // Names of all files below, sorted.
  std::vector<std::string> files() const;
};

}  // namespace annuli::test
