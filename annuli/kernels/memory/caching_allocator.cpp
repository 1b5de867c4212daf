#include "annuli/kernels/memory/caching_allocator.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>

#include <cstdlib>
#include <mutex>
#include <new>

#include "annuli/core/memory.h"
#include "annuli/kernels/memory/arena.h"

namespace annuli::kernels {
namespace {

constexpr size_t kSmallest = size_t{1} << 20;
constexpr size_t kAlignment = 64;

// Addresses cost nothing; 4 TiB are more than there is memory.
constexpr size_t kReserved = size_t{1} << 42;

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
    arena_.release();
  }

  CachedBlocks counts() {
    const std::lock_guard lock(mutex_);
    return {.live = static_cast<int64_t>(arena_.live()),
            .kept = static_cast<int64_t>(arena_.kept()),
            .peak = static_cast<int64_t>(arena_.peak())};
  }

  bool give(void* data) {
    const std::lock_guard lock(mutex_);
    return arena_.give(data);
  }

 private:
  static void free_block(void* data);

  void* take(size_t bytes) {
    if (bytes < kSmallest) return from_malloc(bytes);
    const std::lock_guard lock(mutex_);
    return arena_.take(bytes);
  }

  static void* from_malloc(size_t bytes) {
    void* data = nullptr;
    if (::posix_memalign(&data, kAlignment, bytes) != 0) throw std::bad_alloc();
    return data;
  }

  std::mutex mutex_;
  Arena arena_{kReserved};
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
  return size < kSmallest ? bytes : static_cast<int64_t>(Arena::size_of(size));
}

CachedBlocks cached_blocks() { return allocator().counts(); }

}  // namespace annuli::kernels
