#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "annuli/core/file.h"

// The readers of files that somebody else wrote, each as a function of bytes.
//
// A reader may accept its input or throw UserError. Anything else is a finding:
// another exception, a crash, a leak, a hang. The same targets are driven by
// libFuzzer (`make fuzz`) and by a short fixed sequence of mutations
// (fuzz_test.cpp).
namespace annuli::fuzz {

struct Target {
  const char* name;
  std::vector<std::string> (*seeds)();  // inputs to begin with, most are valid
  void (*read)(const std::string& bytes);
};

const std::vector<Target>& targets();
const Target& target_of(std::string_view name);

// Lets everything through but UserError.
void try_input(const Target& target, const std::string& bytes);

// A folder of this process for readers that take paths, removed at its end. It
// lies in memory where there is a place for that.
const fs::path& scratch();
// The bytes as a file there; the path.
fs::path as_file(const char* name, const std::string& bytes);
// What a writer makes of a path there.
template <typename Write>
std::string written(const char* name, Write&& write) {
  const fs::path path = scratch() / name;
  write(path);
  return read_file(path);
}

std::vector<Target> checkpoint_targets();
std::vector<Target> config_targets();
std::vector<Target> text_targets();

}  // namespace annuli::fuzz
