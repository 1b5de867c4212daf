#include "annuli/checkpoint/output_folder.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "annuli/checkpoint/output_place.h"
#include "annuli/core/error.h"
#include "annuli/core/manifest.h"
#include "annuli/core/text.h"
#include "annuli/core/tilde.h"

namespace annuli {
namespace {

constexpr const char* kTemporary = ".tmp-";
constexpr const char* kKind = "model";
// In a folder that is being written: all that is in it is ours.
constexpr const char* kUnfinished = ".annuli-unfinished";

fs::path parent_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

// "out/" names the folder "out".
fs::path without_slash(const fs::path& path) {
  return path.has_filename() ? path : path.parent_path();
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

bool is_number(const std::string& text) {
  return !text.empty() &&
         text.find_first_not_of("0123456789") == std::string::npos;
}

// One that was being written, one that was to be removed, or neither yet.
void remove_leftover(const fs::path& folder) {
  std::error_code error;
  if (is_there(folder / kUnfinished)) {
    fs::remove_all(folder, error);
    return;
  }
  try {
    const Manifest manifest = Manifest::load(folder, kKind);
    remove_ours(folder, [&](const std::string& name) {
      return !manifest.empty() && manifest.owns(folder, name);
    });
    fs::remove(folder, error);  // if it is empty
  } catch (const UserError&) {
    return;  // not ours
  }
}

void write_mark(const fs::path& path) {
  const int descriptor =
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor < 0) {
    user_error("writing {}: {}", path.string(), std::strerror(errno));
  }
  ::close(descriptor);
}

[[noreturn]] void fail(const fs::path& path, int reason) {
  user_error("writing the folder {}: {}", path.string(), std::strerror(reason));
}

}  // namespace

OutputFolder::OutputFolder(const fs::path& path, bool replace,
                           InputPaths inputs)
    : path_(without_slash(path)),
      replace_(replace),
      inputs_(std::move(inputs)) {
  refuse_tilde(path_, "writing the folder");
  check_output_name(path_);
  replaceable(path_, replace_, inputs_, kKind);
  begin();
}

OutputFolder::OutputFolder(const fs::path& path)
    : path_(path), replace_(false) {
  begin();
}

void OutputFolder::begin() {
  try {
    make_parents();
    remove_leftovers();
    make_temporary();
  } catch (...) {
    discard();
    throw;
  }
}

OutputFolder::~OutputFolder() {
  discard();
  if (lock_ >= 0) ::close(lock_);
}

void OutputFolder::make_parents() {
  const fs::path parent = parent_of(path_);
  std::error_code error;
  for (fs::path above = parent; !above.empty() && !fs::exists(above, error);
       above = above.parent_path()) {
    made_ = above;
  }
  fs::create_directories(parent, error);
  if (error) fail(path_, error.value());
}

void OutputFolder::make_temporary() {
  fs::path made = path_;
  made += kTemporary + std::to_string(::getpid());
  std::error_code error;
  if (!fs::create_directory(made, error)) {
    fail(path_, error ? error.value() : EEXIST);
  }
  temporary_ = made;
  lock_ = try_lock(temporary_);
  ANNULI_CHECK(lock_ >= 0, "{} is locked", temporary_.string());
  write_mark(temporary_ / kUnfinished);
}

void OutputFolder::remove_leftovers() const {
  const std::string prefix = path_.filename().string() + kTemporary;
  std::error_code error;
  for (const auto& item : fs::directory_iterator(parent_of(path_), error)) {
    const std::string name = item.path().filename().string();
    if (!name.starts_with(prefix) || !is_number(name.substr(prefix.size()))) {
      continue;
    }
    const int lock = try_lock(item.path());
    if (lock < 0) continue;
    remove_leftover(item.path());
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

void OutputFolder::add_file(const fs::path& folder, const std::string& name) {
  Manifest manifest = Manifest::load(folder, kKind);
  if (manifest.empty()) return;
  manifest.add_file(folder, name);
  manifest.save(folder);
}

void OutputFolder::list_files() const {
  Manifest manifest(kKind);
  for (const std::string& name : paths_below(temporary_)) {
    if (name != kUnfinished) manifest.add_file(temporary_, name);
  }
  manifest.save(temporary_);
  std::error_code error;
  fs::remove(temporary_ / kUnfinished, error);
  if (error) fail(path_, error.value());
}

void OutputFolder::commit() {
  const std::lock_guard lock(mutex_);
  ANNULI_CHECK(!done_, "{} is finished already", path_.string());
  list_files();
  sync_folder(temporary_);
  check_output_name(path_);
  const std::set<std::string> old =
      replaceable(path_, replace_, inputs_, kKind);
  const unsigned flags = !old.empty()      ? RENAME_EXCHANGE
                         : is_there(path_) ? 0  // an empty folder
                                           : RENAME_NOREPLACE;
  if (::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, path_.c_str(),
                  flags) != 0) {
    fail(path_, errno);
  }
  done_ = true;
  sync_folder(parent_of(path_));
  if (old.empty()) return;
  remove_ours(temporary_,
              [&](const std::string& name) { return old.contains(name); });
  std::error_code error;
  fs::remove(temporary_, error);
}

void OutputFolder::discard() noexcept {
  const std::lock_guard lock(mutex_);
  if (std::exchange(done_, true)) return;
  // A thread that still writes may add a file while they are being removed.
  constexpr int kTries = 100;
  std::error_code error;
  for (int i = 0; i < kTries && is_there(temporary_); ++i) {
    fs::remove_all(temporary_, error);
  }
  if (made_.empty()) return;
  for (fs::path above = parent_of(path_);
       fs::remove(above, error) && above != made_;
       above = above.parent_path()) {
  }
}

}  // namespace annuli
