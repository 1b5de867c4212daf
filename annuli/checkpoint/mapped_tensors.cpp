#include "annuli/checkpoint/mapped_tensors.h"

#include <ATen/Parallel.h>
#include <ATen/ops/from_blob.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include "annuli/checkpoint/zip_directory.h"
#include "annuli/core/error.h"
#include "annuli/kernels/memory/owned_memory.h"

namespace annuli {
namespace {

void copy_bytes(void* target, const std::byte* source, int64_t size) {
  constexpr int64_t kGrain = int64_t{4} << 20;
  at::parallel_for(0, size, kGrain, [&](int64_t begin, int64_t end) {
    std::memcpy(static_cast<std::byte*>(target) + begin, source + begin,
                static_cast<size_t>(end - begin));
  });
}

// Unmaps the pages that lie wholly within the range; they stay in the page
// cache and come back when touched. Failure only costs memory.
void release_pages(const std::byte* data, int64_t size) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  void* first = const_cast<std::byte*>(data);
  auto room = static_cast<size_t>(size);
  if (std::align(page, page, first, room) != nullptr) {
    madvise(first, room / page * page, MADV_DONTNEED);
  }
}

}  // namespace

MappedTensors::MappedTensors(fs::path name, NoFile) : path_(std::move(name)) {}

std::span<const std::byte> MappedTensors::bytes() const {
  return file_ == nullptr ? std::span<const std::byte>() : file_->bytes();
}

void MappedTensors::drop_resident() const {
  if (file_ != nullptr) file_->drop_resident();
}

MappedTensors::MappedTensors(fs::path path)
    : path_(std::move(path)), file_(std::make_shared<MappedFile>(path_)) {
  const std::string_view text(reinterpret_cast<const char*>(bytes().data()),
                              bytes().size());
  if (!text.starts_with("version https://git-lfs")) return;
  user_error(
      "reading {}: found a pointer of Git LFS, expected the file that it "
      "stands "
      "for; fetch it with `git lfs pull`",
      this->path().string());
}

bool MappedTensors::add(TensorEntry entry) {
  const auto size = static_cast<int64_t>(bytes().size());
  const bool within = entry.offset >= 0 && entry.bytes >= 0 &&
                      entry.bytes <= size - entry.offset;
  ANNULI_CHECK(entry.offset == kMade || within, "{} lies outside {}",
               entry.name, path().string());
  if (!index_.emplace(entry.name, entries_.size()).second) return false;
  entries_.push_back(std::move(entry));
  return true;
}

void MappedTensors::add_all(std::vector<TensorEntry> entries) {
  for (TensorEntry& entry : entries) {
    const std::string name = entry.name;
    if (add(std::move(entry))) continue;
    user_error("reading {}: tensor '{}' is there twice", path().string(), name);
  }
}

bool MappedTensors::contains(const std::string& name) const {
  return index_.contains(name);
}

const TensorEntry& MappedTensors::entry(const std::string& name) const {
  const auto found = index_.find(name);
  if (found == index_.end()) {
    user_error("reading {}: it has no tensor '{}'", path().string(), name);
  }
  return entries_[found->second];
}

const std::byte* MappedTensors::data_of(const TensorEntry& entry) const {
  return bytes().data() + entry.offset;
}

void MappedTensors::check_data_of(const TensorEntry& entry) const {
  if (!entry.crc32) return;
  const std::span data(data_of(entry), static_cast<size_t>(entry.bytes));
  if (crc32_of(data) == *entry.crc32) return;
  user_error(
      "reading {}: the checksum of tensor '{}' does not match; the file is "
      "damaged",
      path().string(), entry.name);
}

at::Tensor MappedTensors::made(const TensorEntry& entry) const {
  ANNULI_CHECK(false, "{} is not in {}", entry.name, path().string());
}

void MappedTensors::check_data() const {
  for (const TensorEntry& entry : entries_) {
    if (entry.offset == kMade) continue;
    check_data_of(entry);
    release_pages(data_of(entry), entry.bytes);
  }
}

at::Tensor MappedTensors::tensor(const std::string& name) const {
  const TensorEntry& found = entry(name);
  if (found.offset == kMade) return made(found);
  const std::byte* data = data_of(found);
  const size_t alignment = c10::elementSize(found.dtype);
  if (found.bytes == 0 || reinterpret_cast<uintptr_t>(data) % alignment != 0) {
    return copy(name);
  }
  return at::from_blob(
      const_cast<std::byte*>(data), found.shape,
      [keep = file_](void*) mutable { keep.reset(); },
      at::TensorOptions().dtype(found.dtype));
}

at::Tensor MappedTensors::copy(const std::string& name) const {
  const TensorEntry& found = entry(name);
  if (found.offset == kMade) return made(found);
  at::Tensor result = kernels::owned_empty(found.shape, found.dtype);
  copy_bytes(result.data_ptr(), data_of(found), found.bytes);
  check_data_of(found);
  release_pages(data_of(found), found.bytes);
  return result;
}

}  // namespace annuli
