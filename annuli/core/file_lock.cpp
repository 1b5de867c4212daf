#include "annuli/core/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "annuli/core/error.h"

namespace annuli {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path) {
  user_error("locking {}: {}", path.string(), std::strerror(errno));
}

int opened(const std::filesystem::path& path, int flags) {
  const int descriptor = ::open(path.c_str(), flags | O_CLOEXEC, 0644);
  if (descriptor < 0) fail(path);
  return descriptor;
}

}  // namespace

FileLock::FileLock(const std::filesystem::path& path)
    : descriptor_(opened(path, O_RDONLY)) {
  while (::flock(descriptor_, LOCK_EX) != 0) {
    if (errno == EINTR) continue;
    ::close(descriptor_);
    fail(path);
  }
}

std::optional<FileLock> FileLock::try_lock(const std::filesystem::path& path) {
  return try_opened(path, O_RDONLY);
}

std::optional<FileLock> FileLock::try_lock_file(
    const std::filesystem::path& path) {
  return try_opened(path, O_RDWR | O_CREAT);
}

std::optional<FileLock> FileLock::try_opened(const std::filesystem::path& path,
                                             int flags) {
  FileLock lock(opened(path, flags));
  if (::flock(lock.descriptor_, LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno == EWOULDBLOCK) return std::nullopt;
  fail(path);
}

FileLock::~FileLock() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

FileLock::FileLock(FileLock&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)) {}

}  // namespace annuli
