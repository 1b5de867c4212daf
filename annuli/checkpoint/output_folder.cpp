#include "annuli/checkpoint/output_folder.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "annuli/core/error.h"
#include "annuli/core/text.h"

namespace annuli {
namespace {

constexpr const char* kTemporary = ".tmp-";

fs::path parent_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

// "out/" names the folder "out".
fs::path without_slash(const fs::path& path) {
  return path.has_filename() ? path : path.parent_path();
}

bool is_replaceable(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error) &&
         (fs::exists(path / "config.json", error) || fs::is_empty(path, error));
}

void check_target(const fs::path& path, bool replace) {
  if (!path.has_filename() || path.filename() == "." ||
      path.filename() == "..") {
    user_error("writing the folder '{}': expected a name for a new folder",
               path.string());
  }
  std::error_code error;
  if (!fs::exists(fs::symlink_status(path, error))) return;
  if (!replace) {
    user_error(
        "writing the folder {}: it exists already; choose another name, or "
        "replace it with --force",
        path.string());
  }
  if (fs::is_symlink(path, error) || !is_replaceable(path)) {
    user_error(
        "writing the folder {}: what stands there is not a model folder (no "
        "config.json), and only those are replaced; choose another name",
        path.string());
  }
}

// A lock on the folder itself; -1 if another process holds it.
int try_lock(const fs::path& folder) {
  const int descriptor =
      ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor >= 0 && ::flock(descriptor, LOCK_EX | LOCK_NB) == 0) {
    return descriptor;
  }
  if (descriptor >= 0) ::close(descriptor);
  return -1;
}

[[noreturn]] void fail(const fs::path& path, int reason) {
  user_error("writing the folder {}: {}", path.string(), std::strerror(reason));
}

}  // namespace

OutputFolder::OutputFolder(const fs::path& path, bool replace)
    : path_(without_slash(path)), replace_(replace) {
  check_target(path_, replace);
  std::error_code error;
  fs::create_directories(parent_of(path_), error);
  if (error) fail(path_, error.value());
  remove_leftovers();
  temporary_ = path_;
  temporary_ += kTemporary + std::to_string(::getpid());
  if (!fs::create_directory(temporary_, error)) {
    fail(path_, error ? error.value() : EEXIST);
  }
  lock_ = try_lock(temporary_);
  ANNULI_CHECK(lock_ >= 0, "{} is locked", temporary_.string());
}

OutputFolder::~OutputFolder() {
  discard();
  if (lock_ >= 0) ::close(lock_);
}

void OutputFolder::remove_leftovers() const {
  const std::string prefix = path_.filename().string() + kTemporary;
  std::error_code error;
  for (const auto& item : fs::directory_iterator(parent_of(path_), error)) {
    if (!item.path().filename().string().starts_with(prefix)) continue;
    const int lock = try_lock(item.path());
    if (lock < 0) continue;
    fs::remove_all(item.path(), error);
    ::close(lock);
  }
}

void OutputFolder::require_space(int64_t bytes) const {
  std::error_code error;
  const fs::space_info space = fs::space(temporary_, error);
  if (error || std::cmp_greater_equal(space.available, bytes)) return;
  user_error(
      "writing the folder {}: it takes {}, but only {} are free there; make "
      "room, or choose another place",
      path_.string(), format_bytes(static_cast<double>(bytes)),
      format_bytes(static_cast<double>(space.available)));
}

void OutputFolder::commit() {
  const std::lock_guard lock(mutex_);
  ANNULI_CHECK(!done_, "{} is finished already", path_.string());
  sync_folder(temporary_);
  check_target(path_, replace_);
  std::error_code error;
  const bool exists = fs::exists(path_, error);
  const unsigned flags = exists ? RENAME_EXCHANGE : RENAME_NOREPLACE;
  if (::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, path_.c_str(),
                  flags) != 0) {
    fail(path_, errno);
  }
  done_ = true;
  sync_folder(parent_of(path_));
  if (exists) fs::remove_all(temporary_, error);
}

void OutputFolder::discard() noexcept {
  const std::lock_guard lock(mutex_);
  if (std::exchange(done_, true) || temporary_.empty()) return;
  // A thread that still writes may add a file while they are being removed.
  constexpr int kTries = 100;
  std::error_code error;
  for (int i = 0; i < kTries && fs::exists(temporary_, error); ++i) {
    fs::remove_all(temporary_, error);
  }
}

}  // namespace annuli
