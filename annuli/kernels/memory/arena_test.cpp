#include "annuli/kernels/memory/arena.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <set>
#include <vector>

#include "annuli/core/memory.h"
#include "annuli/core/rng.h"

namespace annuli::kernels {
namespace {

constexpr size_t kMiB = size_t{1} << 20;
constexpr size_t kRoom = 1024 * kMiB;

TEST(Arena, FreedNeighboursBecomeOne) {
  Arena arena(kRoom);
  void* a = arena.take(6 * kMiB);
  void* b = arena.take(6 * kMiB);
  void* c = arena.take(4 * kMiB);
  EXPECT_TRUE(arena.give(a));
  EXPECT_TRUE(arena.give(b));
  EXPECT_EQ(arena.take(12 * kMiB), a);
  EXPECT_TRUE(arena.give(c));
  EXPECT_EQ(arena.live(), 12 * kMiB);
}

TEST(Arena, TakesTheRangeThatFitsBest) {
  Arena arena(kRoom);
  std::vector<void*> blocks;
  for (const size_t size : {8, 2, 4, 2, 16, 2}) {
    blocks.push_back(arena.take(size * kMiB));
  }
  for (const size_t i : {0, 2, 4}) arena.give(blocks[i]);
  EXPECT_EQ(arena.take(3 * kMiB), blocks[2]);
  EXPECT_EQ(arena.take(9 * kMiB), blocks[4]);
  EXPECT_EQ(arena.take(8 * kMiB), blocks[0]);
}

TEST(Arena, KnowsItsBlocks) {
  Arena arena(kRoom), other(kRoom);
  int outside = 0;
  EXPECT_FALSE(arena.give(&outside));
  void* block = other.take(kMiB);
  EXPECT_FALSE(arena.give(block));
  EXPECT_TRUE(other.give(block));
}

TEST(Arena, ThrowsWhenThereIsNoRoom) {
  Arena arena(16 * kMiB);
  void* block = arena.take(10 * kMiB);
  EXPECT_THROW(arena.take(8 * kMiB), std::bad_alloc);
  arena.give(block);
  EXPECT_NO_THROW(arena.take(16 * kMiB));
}

// Blocks of all sizes in any order: none overlaps another (each is filled with
// its own byte and must still hold it), and what is kept stays within bounds.
TEST(Arena, HoldsUnderRandomUse) {
  Arena arena(kRoom);
  struct Block {
    unsigned char* data;
    size_t size;
    unsigned char byte;
  };
  std::vector<Block> blocks;
  const auto huge_pages = [&] {
    std::set<uintptr_t> pages;
    for (const Block& block : blocks) {
      const auto begin = reinterpret_cast<uintptr_t>(block.data);
      const uintptr_t end = begin + Arena::size_of(block.size);
      for (uintptr_t page = begin / Arena::kHugePage;
           page * Arena::kHugePage < end; ++page) {
        pages.insert(page);
      }
    }
    return pages.size();
  };
  const CounterRng rng(3, "arena");
  size_t live = 0, peak = 0, most_pages = 0;
  for (uint64_t i = 0; i < 3000; ++i) {
    if (blocks.size() > 20 || (!blocks.empty() && rng.below(3 * i, 2) == 0)) {
      const size_t at = rng.below(3 * i + 1, blocks.size());
      const Block block = blocks[at];
      for (const size_t place : {size_t{0}, block.size / 2, block.size - 1}) {
        ASSERT_EQ(block.data[place], block.byte) << i;
      }
      ASSERT_TRUE(arena.give(block.data));
      live -= Arena::size_of(block.size);
      blocks.erase(blocks.begin() + static_cast<std::ptrdiff_t>(at));
    } else {
      const size_t size = 1 + rng.below(3 * i + 2, 8 * kMiB);
      auto* data = static_cast<unsigned char*>(arena.take(size));
      const auto byte = static_cast<unsigned char>(i);
      std::memset(data, byte, size);
      blocks.push_back({data, size, byte});
      live += Arena::size_of(size);
      peak = std::max(peak, live);
    }
    ASSERT_EQ(arena.live(), live);
    ASSERT_EQ(arena.peak(), peak);
    const size_t pages = huge_pages();
    most_pages = std::max(most_pages, pages);
    ASSERT_LE(pages + arena.kept() / Arena::kHugePage, most_pages) << i;
  }
}

TEST(Arena, GivesPagesBack) {
  Arena arena(kRoom);
  const int64_t before = current_resident_bytes();
  void* block = arena.take(200 * kMiB);
  std::memset(block, 1, 200 * kMiB);
  void* small = arena.take(kMiB);
  arena.give(block);
  EXPECT_GT(current_resident_bytes(), before + int64_t{190 * kMiB});
  arena.release();
  EXPECT_LT(current_resident_bytes(), before + int64_t{10 * kMiB});
  EXPECT_EQ(arena.kept(), 0);
  EXPECT_EQ(arena.peak(), kMiB);
  // And they can be used again.
  std::memset(arena.take(200 * kMiB), 2, 200 * kMiB);
  arena.give(small);
}

}  // namespace
}  // namespace annuli::kernels
