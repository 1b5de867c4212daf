#include "annuli/train/copy_family.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

// Shares of values that are made by hand.
namespace annuli::train {
namespace {

using Slices = std::vector<grow::Slice>;
using testing::ElementsAre;

constexpr int64_t kAll = 1 << 20;  // entries: every row is looked at

grow::TensorRecipe line(Slices rows, Slices columns, double scale = 1) {
  grow::TensorRecipe line;
  line.child = "child";
  line.parent = "parent";
  line.scale = scale;
  for (Slices* slices : {&rows, &columns}) {
    int64_t size = 0;
    for (const grow::Slice& slice : *slices) size += slice.length;
    line.shape.push_back(size);
    line.dimensions.push_back({.slices = std::move(*slices)});
  }
  return line;
}

CopyShare share(const CopyFamily& family,
                const std::vector<std::vector<double>>& values) {
  std::vector<const double*> first;
  for (const auto& of_tensor : values) first.push_back(of_tensor.data());
  return family.share(first);
}

TEST(CopyFamily, CopiesOfRows) {
  const auto tiled = line({{0, 2}, {0, 2}}, {{0, 2}});
  const CopyFamily family({&tiled}, kAll);
  EXPECT_TRUE(family.has_copies());
  EXPECT_THAT(family.rows(0), ElementsAre(0, 1, 2, 3));
  CopyShare found = share(family, {{1, 2, 3, 4, 1, 2, 3, 4}});
  EXPECT_EQ(found.apart, 0);
  EXPECT_EQ(found.total, 60);
  // 1 and 3 lie one from their mean each; all else is equal.
  found = share(family, {{1, 0, 0, 2, 3, 0, 0, 2}});
  EXPECT_EQ(found.apart, 2);
  EXPECT_EQ(found.total, 18);
}

// Four copies of one entry, of which the mean is 2.
TEST(CopyFamily, CopiesOnBothSidesAreOneGroup) {
  const auto tiled = line({{0, 1}, {0, 1}}, {{0, 1}, {0, 1}}, 0.5);
  const CopyFamily family({&tiled}, kAll);
  const CopyShare found = share(family, {{1, 1, 2, 4}});
  EXPECT_EQ(found.apart, 1 + 1 + 0 + 4);
  EXPECT_EQ(found.total, 22);
}

TEST(CopyFamily, CopiesInSeveralTensors) {
  const auto whole = line({{0, 1}}, {{0, 2}});
  const CopyFamily family({&whole, &whole, &whole}, kAll);
  EXPECT_EQ(share(family, {{5, 7}, {5, 7}, {5, 7}}).apart, 0);
  // Means 2 and 4.
  EXPECT_EQ(share(family, {{1, 4}, {2, 4}, {3, 4}}).apart, 2);
}

// Of scales 1 and 2 the space is spanned by (1, 2): (3, 1) is (1, 2) and
// (2, -1).
TEST(CopyFamily, CopiesAreEqualUpToTheirScales) {
  const auto one = line({{0, 1}}, {{0, 1}});
  const auto twice = line({{0, 1}}, {{0, 1}}, 2);
  const CopyFamily family({&one, &twice}, kAll);
  EXPECT_EQ(share(family, {{3}, {6}}).apart, 0);
  EXPECT_DOUBLE_EQ(share(family, {{3}, {1}}).apart, 5);
}

// Shards of one tensor overlap in its second column; the fourth entry of the
// first is new.
TEST(CopyFamily, WhatHasNoParentOrNoCopyIsNeverApart) {
  const auto left = line({{0, 1}}, {{0, 2}, {grow::kNew, 1}});
  const auto right = line({{0, 1}}, {{1, 2}});
  const CopyFamily family({&left, &right}, kAll);
  const CopyShare found = share(family, {{1, 2, 100}, {4, 7}});
  EXPECT_EQ(found.apart, 2);
  EXPECT_EQ(found.total, 1 + 4 + 16 + 49);
  EXPECT_FALSE(CopyFamily({&left}, kAll).has_copies());
}

// Heads that alternate: rows of one parent row are compared, wherever they are.
TEST(CopyFamily, FollowsTheSlices) {
  const auto heads = line({{0, 1}, {0, 1}, {1, 1}, {1, 1}}, {{0, 1}});
  const CopyFamily family({&heads}, kAll);
  EXPECT_EQ(share(family, {{1, 1, 5, 5}}).apart, 0);
  EXPECT_EQ(share(family, {{1, 5, 1, 5}}).apart, 16);
}

TEST(CopyFamily, LooksAtSomeRowsWithAllTheirCopies) {
  const auto tiled = line({{0, 64}, {0, 64}}, {{0, 8}});
  // A sixteenth of the entries, and an odd distance.
  const CopyFamily family({&tiled}, 64);
  EXPECT_THAT(family.rows(0),
              ElementsAre(0, 15, 30, 45, 60, 64, 79, 94, 109, 124));
  std::vector<double> values(10 * 8, 1);
  EXPECT_EQ(share(family, {values}).apart, 0);
  values[5 * 8] = 3;  // of row 64, a copy of row 0
  EXPECT_EQ(share(family, {values}).apart, 2);
}

TEST(CopyFamily, LooksAtTwoRowsAtLeast) {
  EXPECT_EQ(row_stride(100, 100 * 4096, 2048), 49);
  EXPECT_EQ(row_stride(3, 3000, 10), 1);
  EXPECT_EQ(row_stride(64, 64, 2048), 1);
  const auto shard = line({{7, 1}}, {{0, 4}});
  const auto whole = line({{0, 64}}, {{0, 4}});
  EXPECT_THAT(CopyFamily({&whole, &shard}, 16).rows(1), ElementsAre(0));
}

}  // namespace
}  // namespace annuli::train
