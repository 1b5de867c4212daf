#include "annuli/run/run_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "annuli/checkpoint/training_state.h"
#include "annuli/core/error.h"
#include "annuli/core/file.h"

namespace annuli::run {

RunFolder::RunFolder(fs::path root) : root_(std::move(root)) {
  std::error_code error;
  for (const char* folder : {"checkpoints", "verify", "samples"}) {
    fs::create_directories(root_ / folder, error);
    if (error) {
      user_error("making the run folder {}: {}; choose another with --out",
                 (root_ / folder).string(), error.message());
    }
  }
  const fs::path lock = root_ / ".lock";
  lock_ = ::open(lock.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
  if (lock_ < 0) {
    user_error("locking {}: {}", lock.string(), std::strerror(errno));
  }
  if (::flock(lock_, LOCK_EX | LOCK_NB) != 0) {
    ::close(lock_);
    user_error(
        "locking {}: another run is writing this folder; wait for it, "
        "or choose another with --out",
        root_.string());
  }
}

RunFolder::~RunFolder() { ::close(lock_); }

void RunFolder::remove_leftovers() {
  for (const char* folder : {"", "checkpoints", "verify", "samples"}) {
    remove_temporaries(root_ / folder);
  }
  remove_unfinished_states(state());
}

void RunFolder::clear() {
  for (const char* name :
       {"summary.json", "state", "plan.yaml", "training_history.jsonl",
        "lineage.json", "checkpoints", "verify", "samples"}) {
    fs::remove_all(root_ / name);
  }
  for (const char* folder : {"checkpoints", "verify", "samples"}) {
    fs::create_directories(root_ / folder);
  }
}

}  // namespace annuli::run
