#include "annuli/core/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "annuli/core/error.h"

namespace annuli {
namespace {

[[noreturn]] void fail(std::string_view doing, const fs::path& path) {
  const int reason = errno;
  user_error("{} {}: {}", doing, path.string(), std::strerror(reason));
}

// A descriptor that is open for reading, with the file's size.
struct OpenFile {
  OpenFile(const fs::path& path, std::string_view doing) {
    descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) fail(doing, path);
    struct stat status = {};
    if (::fstat(descriptor, &status) != 0) {
      ::close(descriptor);
      fail(doing, path);
    }
    if (S_ISDIR(status.st_mode)) {
      ::close(descriptor);
      user_error("{} {}: found a folder, expected a file", doing,
                 path.string());
    }
    size = static_cast<size_t>(status.st_size);
  }
  ~OpenFile() { ::close(descriptor); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  int descriptor = -1;
  size_t size = 0;
};

constexpr const char* kTemporary = ".tmp-";

// NAME.tmp-PID-NUMBER: somebody else's file may well have ".tmp-" in its name.
bool is_temporary(std::string_view name) {
  const auto skip_number = [&](char before) {
    const size_t digits = name.find_last_not_of("0123456789");
    if (digits == name.npos || digits + 1 == name.size() ||
        name[digits] != before) {
      return false;
    }
    name = name.substr(0, digits + 1);
    return true;
  };
  if (!skip_number('-')) return false;
  name.remove_suffix(1);
  return skip_number('-') && name.ends_with(kTemporary) &&
         name.size() > std::string_view(kTemporary).size();
}

// Makes a file and locks it; -1 if it cannot be made. `remove_temporaries` may
// have removed it between the two: then it is no longer the one of that name.
int make_locked(const fs::path& path) {
  for (;;) {
    const int descriptor =
        ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor < 0) return -1;
    struct stat status = {};
    const bool locked = ::flock(descriptor, LOCK_EX) == 0;
    // Where there are no locks, nobody removes what is locked either.
    if (!locked || ::fstat(descriptor, &status) != 0 || status.st_nlink > 0) {
      return descriptor;
    }
    ::close(descriptor);
  }
}

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

}  // namespace

void sync_folder(const fs::path& folder) {
  const int descriptor =
      ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) fail("syncing", folder);
  const int result = ::fsync(descriptor);
  const int reason = errno;
  ::close(descriptor);
  errno = reason;
  // Some file systems cannot sync a folder; the rename itself is done.
  if (result != 0 && reason != EINVAL && reason != ENOTSUP) {
    fail("syncing", folder);
  }
}

void sync_file(const fs::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  if (descriptor < 0) fail("syncing", path);
  const int result = ::fsync(descriptor);
  const int reason = errno;
  ::close(descriptor);
  errno = reason;
  if (result != 0) fail("syncing", path);
}

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

std::string read_file(const fs::path& path) {
  const OpenFile file(path, "reading");
  std::string content;
  // One byte more than the size, so that the last read sees the end; files
  // of /proc say size 0 and are read piece by piece.
  size_t used = 0;
  content.resize(std::max<size_t>(file.size + 1, 4096));
  while (true) {
    const ssize_t got =
        ::read(file.descriptor, content.data() + used, content.size() - used);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail("reading", path);
    if (got == 0) break;
    used += static_cast<size_t>(got);
    if (used == content.size()) content.resize(content.size() * 2);
  }
  content.resize(used);
  return content;
}

void remove_temporaries(const fs::path& folder) {
  std::error_code error;
  for (const auto& item : fs::directory_iterator(folder, error)) {
    if (!is_temporary(item.path().filename().string()) ||
        !item.is_regular_file(error)) {
      continue;
    }
    const int descriptor = ::open(item.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) continue;
    if (::flock(descriptor, LOCK_EX | LOCK_NB) == 0) {
      ::unlink(item.path().c_str());
    }
    ::close(descriptor);
  }
}

void write_file_atomically(const fs::path& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)) {
  static std::atomic<int> count = 0;
  do {
    temporary_ = path_;
    temporary_ += fmt::format("{}{}-{}", kTemporary, ::getpid(), count++);
    descriptor_ = make_locked(temporary_);
  } while (descriptor_ < 0 && errno == EEXIST);
  if (descriptor_ < 0) {
    temporary_.clear();
    fail("writing", path_);
  }
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, fs::path())),
      descriptor_(std::exchange(other.descriptor_, -1)),
      position_(std::exchange(other.position_, 0)),
      started_(std::exchange(other.started_, 0)) {}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* data, size_t size) {
  ANNULI_CHECK(descriptor_ >= 0, "{} is committed already", path_.string());
  constexpr size_t kLargestWrite = size_t{1} << 30;
  const char* next = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t written =
        ::write(descriptor_, next, std::min(size, kLargestWrite));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("writing", path_);
    next += written;
    size -= static_cast<size_t>(written);
    position_ += written;
  }
  start_writing_out();
}

// Early and piece by piece, so that the sync at the end has little left to do.
void AtomicFile::start_writing_out() {
  constexpr int64_t kPiece = int64_t{16} << 20;
  if (position_ - started_ < kPiece) return;
  // A hint: where it is not supported, the sync does all of the work.
  ::sync_file_range(descriptor_, started_, position_ - started_,
                    SYNC_FILE_RANGE_WRITE);
  started_ = position_;
}

void AtomicFile::sync() {
  ANNULI_CHECK(descriptor_ >= 0, "{} is committed already", path_.string());
  if (::fsync(descriptor_) != 0) fail("writing", path_);
}

void AtomicFile::overwrite(int64_t offset, const void* data, size_t size) {
  ANNULI_CHECK(descriptor_ >= 0, "{} is committed already", path_.string());
  ANNULI_CHECK(offset >= 0 && offset + static_cast<int64_t>(size) <= position_,
               "{} bytes at {} of {} written", size, offset, position_);
  const char* next = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t written = ::pwrite(descriptor_, next, size, offset);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("writing", path_);
    next += written;
    offset += written;
    size -= static_cast<size_t>(written);
  }
}

void AtomicFile::commit() {
  sync();
  if (::close(std::exchange(descriptor_, -1)) != 0) fail("writing", path_);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("writing", path_);
  temporary_.clear();
  sync_folder(folder_of(path_));
}

MappedFile::MappedFile(fs::path path) : path_(std::move(path)) {
  const OpenFile file(path_, "mapping");
  size_ = file.size;
  if (size_ == 0) return;
  void* mapped =
      ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.descriptor, 0);
  if (mapped == MAP_FAILED) fail("mapping", path_);
  data_ = static_cast<const std::byte*>(mapped);
}

void MappedFile::drop_resident() const {
  if (data_ == nullptr) return;
  ::madvise(const_cast<std::byte*>(data_), size_, MADV_DONTNEED);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace annuli
