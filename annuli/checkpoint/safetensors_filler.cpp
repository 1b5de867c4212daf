#include "annuli/checkpoint/safetensors_filler.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "annuli/core/error.h"

namespace annuli {
namespace {

[[noreturn]] void fail(const fs::path& path) {
  user_error("writing {}: {}", path.string(), std::strerror(errno));
}

}  // namespace

SafetensorsFiller::SafetensorsFiller(fs::path path,
                                     const std::vector<TensorEntry>& entries)
    : path_(std::move(path)) {
  descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
  if (descriptor_ < 0) fail(path_);
  int64_t data = 0;
  for (const TensorEntry& entry : entries) data += entry.bytes;
  // The data is the end of the file.
  int64_t offset = static_cast<int64_t>(fs::file_size(path_)) - data;
  for (const TensorEntry& entry : entries) {
    offsets_.push_back(offset);
    offset += entry.bytes;
  }
}

SafetensorsFiller::~SafetensorsFiller() { ::close(descriptor_); }

void SafetensorsFiller::begin(size_t index) { next_ = offsets_.at(index); }

void SafetensorsFiller::append(const void* data, int64_t bytes) {
  constexpr int64_t kLargestWrite = int64_t{1} << 30;
  const auto* rest = static_cast<const char*>(data);
  while (bytes > 0) {
    const ssize_t written =
        ::pwrite(descriptor_, rest,
                 static_cast<size_t>(std::min(bytes, kLargestWrite)), next_);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail(path_);
    rest += written;
    next_ += written;
    bytes -= written;
  }
}

void SafetensorsFiller::finish() {
  if (::fsync(descriptor_) != 0) fail(path_);
}

}  // namespace annuli
