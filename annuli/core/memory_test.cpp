#include "annuli/core/memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <new>

namespace annuli {
namespace {

constexpr size_t kBlock = 64 << 20;
// What else a process may touch meanwhile, and the kernel's batching of the
// counters (a few dozen pages per thread).
constexpr int64_t kSlack = 8 << 20;

void touch_and_release() {
  void* block = mmap(nullptr, kBlock, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(block, MAP_FAILED);
  std::memset(block, 1, kBlock);
  EXPECT_GE(peak_resident_bytes(), static_cast<int64_t>(kBlock) - kSlack);
  munmap(block, kBlock);
}

TEST(Memory, PeakOutlivesTheBlockUntilReset) {
  if (!reset_peak_resident()) GTEST_SKIP() << "the kernel forbids the reset";
  const int64_t before = current_resident_bytes();
  touch_and_release();
  const int64_t grown = before + static_cast<int64_t>(kBlock) - kSlack;
  EXPECT_GE(peak_resident_bytes(), grown);
  EXPECT_LT(current_resident_bytes(), grown);
  ASSERT_TRUE(reset_peak_resident());
  EXPECT_LT(peak_resident_bytes(), grown);
}

// What `new` does when it has found no memory.
TEST(Memory, IsKeptForUnwindingOnceAndForNothingElse) {
  const std::new_handler before = std::get_new_handler();
  keep_memory_for_unwinding();
  const std::new_handler handler = std::get_new_handler();
  EXPECT_THROW(handler(), std::bad_alloc);
  try {
    throw std::bad_alloc();
  } catch (const std::bad_alloc&) {
    EXPECT_NO_THROW(handler());
    EXPECT_THROW(handler(), std::bad_alloc);
  }
  std::set_new_handler(before);
}

}  // namespace
}  // namespace annuli
