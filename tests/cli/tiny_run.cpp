#include "tiny_run.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "program.h"

namespace annuli::test {
namespace {

// Held while the run is looked for or made, so that of tests that run side by
// side one makes it and the others wait.
class Lock {
 public:
  explicit Lock(const fs::path& path)
      : descriptor_(::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600)) {
    if (descriptor_ < 0 || ::flock(descriptor_, LOCK_EX) != 0) {
      throw std::runtime_error("locking " + path.string());
    }
  }
  ~Lock() { ::close(descriptor_); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  int descriptor_;
};

fs::path make_tiny_run() {
  const fs::path base = ANNULI_TEST_DIR;
  const Lock lock(base / "tiny-run.lock");
  const auto age = fs::last_write_time(ANNULI_PROGRAM).time_since_epoch();
  const fs::path folder = base / ("tiny-run-" + std::to_string(age.count()));
  if (fs::exists(folder / "summary.json")) return folder;
  for (const auto& entry : fs::directory_iterator(base)) {
    const bool old = entry.path().filename().string().starts_with("tiny-run-");
    if (old) fs::remove_all(entry.path());
  }
  const ScratchFolder scratch;
  const Outcome outcome =
      run_program({"run", "plans/tiny.yaml", "--out", folder.string(), "--set",
                   "data.cache_dir=" + scratch.file("tokens"), "--set",
                   "phases.1.init_checkpoint=moe_init.pt", "--set",
                   "phases.2.init_checkpoint=medium_init.pt", "--set",
                   "phases.3.init_checkpoint=large_init.pt"},
                  scratch.path());
  if (outcome.status != 0) {
    throw std::runtime_error("plans/tiny.yaml did not run: " + outcome.err);
  }
  return folder;
}

}  // namespace

const fs::path& tiny_run() {
  static const fs::path folder = make_tiny_run();
  return folder;
}

std::string tiny_checkpoint(const std::string& name) {
  return (tiny_run() / "checkpoints" / name).string();
}

}  // namespace annuli::test
