#include "annuli/kernels/memory/caching_allocator.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include <vector>

#include "annuli/core/memory.h"

namespace annuli::kernels {
namespace {

at::Tensor megabytes(int64_t n) { return at::empty({n << 18}, at::kFloat); }

class CachingAllocatorTest : public testing::Test {
 protected:
  void SetUp() override {
    use_caching_allocator();
    release_cached_blocks();
  }
  void TearDown() override { release_cached_blocks(); }
};

TEST_F(CachingAllocatorTest, ABlockIsFoundAgain) {
  at::Tensor a = megabytes(16);
  const void* data = a.data_ptr();
  a.reset();
  EXPECT_EQ(cached_blocks().kept, 16 << 20);
  EXPECT_EQ(megabytes(16).data_ptr(), data);
}

TEST_F(CachingAllocatorTest, PagesServeBlocksOfAnySize) {
  megabytes(40).fill_(1);
  const int64_t before = current_resident_bytes();
  std::vector<at::Tensor> parts;
  for (const int64_t n : {5, 11, 3, 20}) parts.push_back(megabytes(n).fill_(1));
  EXPECT_LT(current_resident_bytes(), before + (4 << 20));
  parts.clear();
  megabytes(40).fill_(1);
  EXPECT_LT(current_resident_bytes(), before + (4 << 20));
}

TEST_F(CachingAllocatorTest, KeepsNoMoreThanWasEverLive) {
  for (int64_t n = 4; n < 40; ++n) megabytes(n).fill_(1);
  const CachedBlocks blocks = cached_blocks();
  EXPECT_EQ(blocks.live, 0);
  EXPECT_EQ(blocks.peak, 39 << 20);
  EXPECT_LE(blocks.kept, blocks.peak + (2 << 20));
}

TEST_F(CachingAllocatorTest, ReleasingGivesThePagesBack) {
  at::ones({50 << 20}, at::kFloat).reset();
  const int64_t before = current_resident_bytes();
  release_cached_blocks();
  EXPECT_LT(current_resident_bytes(), before - (150 << 20));
  EXPECT_EQ(cached_blocks().kept, 0);
}

TEST_F(CachingAllocatorTest, SmallBlocksAreMallocs) {
  at::Tensor a = at::ones({1000}, at::kFloat);
  EXPECT_EQ(cached_blocks().live, 0);
  EXPECT_EQ(a.sum().item<float>(), 1000);
}

}  // namespace
}  // namespace annuli::kernels
