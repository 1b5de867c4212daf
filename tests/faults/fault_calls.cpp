// The functions of the C library that the preloaded library stands in for; what
// each of them does follows from fault.h.
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "tests/faults/fault.h"

namespace annuli::fault {
namespace {

template <typename... Words>
long perform_call(Kind kind, bool watched, long number, Words... words) {
  return perform(kind, watched, 0,
                 [&](size_t) { return ::syscall(number, words...); });
}

bool changes(int flags) {
  return (flags & (O_CREAT | O_TRUNC)) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
}

int open_at(int folder, const char* path, int flags, unsigned mode) {
  return static_cast<int>(
      perform_call(kOpen, changes(flags) && is_watched(folder, path),
                   SYS_openat, folder, path, flags, mode));
}

int rename_at(int from_folder, const char* from, int to_folder, const char* to,
              unsigned flags) {
  return static_cast<int>(perform_call(
      kRename, is_watched(from_folder, from) || is_watched(to_folder, to),
      SYS_renameat2, from_folder, from, to_folder, to, flags));
}

int remove_at(int folder, const char* path, int flags) {
  return static_cast<int>(perform_call(kRemove, is_watched(folder, path),
                                       SYS_unlinkat, folder, path, flags));
}

int sync_of(int descriptor, long call) {
  return static_cast<int>(
      perform_call(kSync, is_watched(descriptor), call, descriptor));
}

}  // namespace
}  // namespace annuli::fault

using namespace annuli::fault;

extern "C" {

int open(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const unsigned mode = changes(flags) ? va_arg(rest, unsigned) : 0;
  va_end(rest);
  return open_at(AT_FDCWD, path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const unsigned mode = changes(flags) ? va_arg(rest, unsigned) : 0;
  va_end(rest);
  return open_at(AT_FDCWD, path, flags, mode);
}

int openat(int folder, const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const unsigned mode = changes(flags) ? va_arg(rest, unsigned) : 0;
  va_end(rest);
  return open_at(folder, path, flags, mode);
}

int openat64(int folder, const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  const unsigned mode = changes(flags) ? va_arg(rest, unsigned) : 0;
  va_end(rest);
  return open_at(folder, path, flags, mode);
}

ssize_t write(int descriptor, const void* data, size_t size) {
  return perform(kWrite, is_watched(descriptor), size, [&](size_t part) {
    return ::syscall(SYS_write, descriptor, data, part);
  });
}

ssize_t pwrite(int descriptor, const void* data, size_t size, off_t offset) {
  return perform(kWrite, is_watched(descriptor), size, [&](size_t part) {
    return ::syscall(SYS_pwrite64, descriptor, data, part, offset);
  });
}

ssize_t pwrite64(int descriptor, const void* data, size_t size,
                 off64_t offset) {
  return pwrite(descriptor, data, size, offset);
}

int ftruncate(int descriptor, off_t size) noexcept {
  return static_cast<int>(perform_call(kTruncate, is_watched(descriptor),
                                       SYS_ftruncate, descriptor, size));
}

int ftruncate64(int descriptor, off64_t size) noexcept {
  return ftruncate(descriptor, size);
}

int fsync(int descriptor) { return sync_of(descriptor, SYS_fsync); }

int fdatasync(int descriptor) { return sync_of(descriptor, SYS_fdatasync); }

int rename(const char* from, const char* to) noexcept {
  return rename_at(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int renameat(int from_folder, const char* from, int to_folder,
             const char* to) noexcept {
  return rename_at(from_folder, from, to_folder, to, 0);
}

int renameat2(int from_folder, const char* from, int to_folder, const char* to,
              unsigned flags) noexcept {
  return rename_at(from_folder, from, to_folder, to, flags);
}

int mkdir(const char* path, mode_t mode) noexcept {
  return static_cast<int>(perform_call(kMkdir, is_watched(AT_FDCWD, path),
                                       SYS_mkdirat, AT_FDCWD, path, mode));
}

int unlink(const char* path) noexcept { return remove_at(AT_FDCWD, path, 0); }

int rmdir(const char* path) noexcept {
  return remove_at(AT_FDCWD, path, AT_REMOVEDIR);
}

int unlinkat(int folder, const char* path, int flags) noexcept {
  return remove_at(folder, path, flags);
}

int remove(const char* path) noexcept {
  struct stat status {};
  const bool is_folder = ::lstat(path, &status) == 0 && S_ISDIR(status.st_mode);
  return is_folder ? rmdir(path) : unlink(path);
}

void* mmap(void* address, size_t size, int protection, int flags,
           int descriptor, off_t offset) noexcept {
  const bool watched =
      (flags & MAP_ANONYMOUS) == 0 && descriptor >= 0 && is_watched(descriptor);
  return reinterpret_cast<void*>(  // NOLINT: what the system call returns
      perform_call(kMap, watched, SYS_mmap, address, size, protection, flags,
                   descriptor, offset));
}

void* mmap64(void* address, size_t size, int protection, int flags,
             int descriptor, off64_t offset) noexcept {
  return mmap(address, size, protection, flags, descriptor, offset);
}

int clock_gettime(clockid_t clock, timespec* time) noexcept {
  const long result = ::syscall(SYS_clock_gettime, clock, time);
  if (result == 0 && clock == CLOCK_REALTIME) time->tv_sec += jump();
  return static_cast<int>(result);
}

int gettimeofday(timeval* time, void* zone) noexcept {
  const long result = ::syscall(SYS_gettimeofday, time, zone);
  if (result == 0) time->tv_sec += jump();
  return static_cast<int>(result);
}

time_t time(time_t* result) noexcept {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  if (result != nullptr) *result = now.tv_sec;
  return now.tv_sec;
}
}
