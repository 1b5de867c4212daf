#include "annuli/core/scratch_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>

#include "annuli/core/error.h"

namespace annuli {
namespace {

[[noreturn]] void fail(const char* doing, const char* reason) {
  user_error("{} a temporary file: {}; TMPDIR names a folder with room", doing,
             reason);
}

std::string pattern() {
  const char* chosen = std::getenv("TMPDIR");
  const std::string folder =
      chosen == nullptr || *chosen == 0 ? "/var/tmp" : chosen;
  return folder + "/annuli-XXXXXX";
}

}  // namespace

ScratchFile::ScratchFile() {
  std::string path = pattern();
  // Without a name from the start, where the file system can do that.
  descriptor_ = ::open(std::filesystem::path(path).parent_path().c_str(),
                       O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (descriptor_ >= 0) return;
  descriptor_ = ::mkostemp(path.data(), O_CLOEXEC);
  if (descriptor_ < 0) fail("creating", std::strerror(errno));
  ::unlink(path.c_str());
}

ScratchFile::~ScratchFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

ScratchFile::ScratchFile(ScratchFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), end_(other.end_) {}

ScratchFile& ScratchFile::operator=(ScratchFile&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  std::swap(end_, other.end_);
  return *this;
}

int64_t ScratchFile::append(const void* data, size_t size) {
  const int64_t begin = end_;
  const auto* next = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t written = ::pwrite(descriptor_, next, size, end_);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail("writing", std::strerror(errno));
    next += written;
    size -= static_cast<size_t>(written);
    end_ += written;
  }
  return begin;
}

void ScratchFile::read(int64_t offset, void* data, size_t size) const {
  auto* next = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t found = ::pread(descriptor_, next, size, offset);
    if (found < 0 && errno == EINTR) continue;
    if (found < 0) fail("reading", std::strerror(errno));
    if (found == 0) fail("reading", "it ends early");
    next += found;
    size -= static_cast<size_t>(found);
    offset += found;
  }
}

}  // namespace annuli
