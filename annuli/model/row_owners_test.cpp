#include "annuli/model/row_owners.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace annuli {
namespace {

TensorTable tables_of(const std::vector<int64_t>& sizes) {
  TensorTable table;
  for (const int64_t size : sizes) {
    table.push_back({.name = "w",
                     .part = Part::kEmbedding,
                     .dimensions = {{.axis = Axis::kVocab,
                                     .role = AxisRole::kProduced,
                                     .count = size}}});
  }
  return table;
}

TEST(RowOwners, TheLargestFirstToWhoHasLeast) {
  const RowOwners owners(tables_of({3, 10, 4, 4, 1}), 2);
  EXPECT_EQ(owners.rows_of(0), (std::vector<size_t>{1, 4}));
  EXPECT_EQ(owners.rows_of(1), (std::vector<size_t>{0, 2, 3}));
  EXPECT_EQ(owners.entries_of(0), 11);
  EXPECT_EQ(owners.most_entries(), 11);
  EXPECT_EQ(owners.owner(3), 1);
}

TEST(RowOwners, OfEqualOnesTheLowest) {
  const RowOwners owners(tables_of({5, 5, 5, 5}), 4);
  for (size_t row = 0; row < 4; ++row) {
    EXPECT_EQ(owners.owner(row), static_cast<int64_t>(row));
  }
}

TEST(RowOwners, EveryRowHasOne) {
  const RowOwners owners(tables_of({7, 1, 1, 2, 3, 5, 8, 1, 9}), 4);
  std::set<size_t> seen;
  for (int64_t process = 0; process < owners.processes(); ++process) {
    EXPECT_TRUE(std::ranges::is_sorted(owners.rows_of(process)));
    for (const size_t row : owners.rows_of(process)) {
      EXPECT_TRUE(seen.insert(row).second);
      EXPECT_EQ(owners.owner(row), process);
    }
  }
  EXPECT_EQ(seen.size(), 9U);
}

TEST(RowOwners, MoreProcessesThanRows) {
  const RowOwners owners(tables_of({2}), 4);
  EXPECT_EQ(owners.rows_of(0).size(), 1U);
  EXPECT_TRUE(owners.rows_of(3).empty());
  EXPECT_EQ(owners.entries_of(3), 0);
}

}  // namespace
}  // namespace annuli
