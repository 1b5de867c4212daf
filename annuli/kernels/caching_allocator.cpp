#include "annuli/kernels/caching_allocator.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <list>
#include <map>
#include <mutex>
#include <new>
#include <unordered_map>

#include "annuli/core/memory.h"

namespace annuli::kernels {
namespace {

constexpr size_t kSmallest = size_t{1} << 20;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kAlignment = 64;

// Eight classes to a doubling, so that a tensor whose size varies a little from
// step to step (an expert's rows) finds its block again.
size_t class_of(size_t bytes) {
  const size_t step = std::bit_floor(bytes) / 8;
  return (bytes + step - 1) / step * step;
}

void* map_pages(size_t bytes) {
  void* pages = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) throw std::bad_alloc();
  if (bytes >= 2 * kHugePage) ::madvise(pages, bytes, MADV_HUGEPAGE);
  return pages;
}

class CachingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* data = bytes == 0 ? nullptr : take(bytes);
    return {data, data, &free_block, c10::Device(c10::DeviceType::CPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &free_block; }

  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

  void release() {
    const std::lock_guard lock(mutex_);
    while (!kept_.empty()) drop_oldest();
    counts_.peak = counts_.live;
  }

  CachedBlocks counts() {
    const std::lock_guard lock(mutex_);
    return counts_;
  }

 private:
  struct Kept {
    void* data;
    size_t bytes;
  };
  using KeptList = std::list<Kept>;  // oldest first

  static void free_block(void* data);

  void* take(size_t bytes) {
    if (bytes < kSmallest) return from_malloc(bytes);
    const size_t size = class_of(bytes);
    const std::lock_guard lock(mutex_);
    void* data = reuse(size);
    counts_.live += static_cast<int64_t>(size);
    counts_.peak = std::max(counts_.peak, counts_.live);
    while (counts_.live + counts_.kept > counts_.peak) drop_oldest();
    if (data == nullptr) data = map_pages(size);
    live_[data] = size;
    return data;
  }

  void* reuse(size_t size) {
    const auto found = by_size_.find(size);
    if (found == by_size_.end()) return nullptr;
    const KeptList::iterator block = found->second;
    void* data = block->data;
    counts_.kept -= static_cast<int64_t>(size);
    by_size_.erase(found);
    kept_.erase(block);
    return data;
  }

  // True if the block was one of ours.
  bool give(void* data) {
    const std::lock_guard lock(mutex_);
    const auto found = live_.find(data);
    if (found == live_.end()) return false;
    const size_t size = found->second;
    live_.erase(found);
    counts_.live -= static_cast<int64_t>(size);
    counts_.kept += static_cast<int64_t>(size);
    kept_.push_back({data, size});
    by_size_.emplace(size, std::prev(kept_.end()));
    return true;
  }

  void drop_oldest() {
    const Kept block = kept_.front();
    auto [first, last] = by_size_.equal_range(block.bytes);
    by_size_.erase(std::find_if(first, last, [&](const auto& entry) {
      return entry.second == kept_.begin();
    }));
    kept_.pop_front();
    counts_.kept -= static_cast<int64_t>(block.bytes);
    ::munmap(block.data, block.bytes);
  }

  static void* from_malloc(size_t bytes) {
    void* data = nullptr;
    if (::posix_memalign(&data, kAlignment, bytes) != 0) throw std::bad_alloc();
    return data;
  }

  std::mutex mutex_;
  CachedBlocks counts_;
  std::unordered_map<void*, size_t> live_;
  KeptList kept_;
  std::multimap<size_t, KeptList::iterator> by_size_;
};

// Never destroyed: tensors may outlive every static object.
CachingAllocator& allocator() {
  static auto* instance = new CachingAllocator;
  return *instance;
}

void CachingAllocator::free_block(void* data) {
  if (data != nullptr && !allocator().give(data)) ::free(data);
}

}  // namespace

void use_caching_allocator() {
  c10::SetCPUAllocator(&allocator(), /*priority=*/1);
}

void release_cached_blocks() { allocator().release(); }

void give_back_memory() {
  release_cached_blocks();
  release_free_memory();
}

int64_t cached_block_bytes(int64_t bytes) {
  const auto size = static_cast<size_t>(bytes);
  return size < kSmallest ? bytes : static_cast<int64_t>(class_of(size));
}

CachedBlocks cached_blocks() { return allocator().counts(); }

}  // namespace annuli::kernels
