#include "tests/fuzz/target.h"

#include <stdlib.h>
#include <unistd.h>

#include <fstream>

#include "annuli/core/error.h"

namespace annuli::fuzz {
namespace {

class Scratch {
 public:
  Scratch() {
    std::string name = ::access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    name += "/annuli-fuzz-XXXXXX";
    ANNULI_CHECK(::mkdtemp(name.data()) != nullptr, "no folder {}", name);
    path_ = name;
  }
  ~Scratch() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

}  // namespace

const fs::path& scratch() {
  static const Scratch folder;
  return folder.path();
}

fs::path as_file(const char* name, const std::string& bytes) {
  fs::path path = scratch() / name;
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

const std::vector<Target>& targets() {
  static const std::vector<Target> all = [] {
    std::vector<Target> list = checkpoint_targets();
    for (auto* more : {config_targets, text_targets}) {
      for (const Target& target : more()) list.push_back(target);
    }
    return list;
  }();
  return all;
}

const Target& target_of(std::string_view name) {
  for (const Target& target : targets()) {
    if (target.name == name) return target;
  }
  user_error("fuzzing: no target is called {}", name);
}

void try_input(const Target& target, const std::string& bytes) {
  try {
    target.read(bytes);
  } catch (const UserError&) {  // an answer. NOLINT(bugprone-empty-catch)
  }
}

}  // namespace annuli::fuzz
