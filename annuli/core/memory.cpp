#include "annuli/core/memory.h"

#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <exception>
#include <new>
#include <string>

#include "annuli/core/error.h"
#include "annuli/core/file.h"

namespace annuli {
namespace {

// Freed once, by unwind_or_throw.
std::atomic<void*> reserve = nullptr;

void unwind_or_throw() {
  const bool unwinding =
      std::uncaught_exceptions() > 0 || std::current_exception() != nullptr;
  void* const kept = unwinding ? reserve.exchange(nullptr) : nullptr;
  if (kept == nullptr) throw std::bad_alloc();
  std::free(kept);
}

// One line of /proc/self/status, "VmHWM:     1234 kB", in bytes.
int64_t status_bytes(const std::string& key) {
  const std::string status = read_file("/proc/self/status");
  const size_t found = status.find("\n" + key + ":");
  ANNULI_CHECK(found != std::string::npos, "/proc/self/status has no {}", key);
  return std::strtoll(status.c_str() + found + key.size() + 2, nullptr, 10) *
         1024;
}

}  // namespace

int64_t peak_resident_bytes() { return status_bytes("VmHWM"); }

int64_t current_resident_bytes() { return status_bytes("VmRSS"); }

bool reset_peak_resident() {
  const int descriptor = ::open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
  if (descriptor < 0) return false;
  const bool done = ::write(descriptor, "5", 1) == 1;
  ::close(descriptor);
  return done;
}

void tune_malloc() {
  // 32 MB is the largest mmap threshold glibc accepts, and measured: larger
  // ones keep so much that the peak doubles.
  constexpr int kThreshold = 32 << 20;
  mallopt(M_MMAP_THRESHOLD, kThreshold);
  mallopt(M_TRIM_THRESHOLD, kThreshold);
}

void keep_memory_for_unwinding() {
  constexpr size_t kReserve = 1 << 20;
  reserve = std::malloc(kReserve);
  std::set_new_handler(unwind_or_throw);
}

void release_free_memory() { malloc_trim(0); }

}  // namespace annuli
