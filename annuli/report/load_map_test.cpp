#include "annuli/report/load_map.h"

#include <gtest/gtest.h>

namespace annuli::report {
namespace {

TEST(LoadMap, AValueIsTheShareOfTheMean) {
  LoadMap map;
  map.add(10, {{6, 2, 0, 0}, {1, 1, 1, 1}});
  map.finish(1000);
  EXPECT_EQ(map.first_row(), 10u);
  EXPECT_DOUBLE_EQ(map.value(0, 0, 0), 3);
  EXPECT_DOUBLE_EQ(map.value(0, 0, 1), 1);
  EXPECT_DOUBLE_EQ(map.value(0, 0, 3), 0);
  EXPECT_DOUBLE_EQ(map.value(0, 1, 2), 1);
}

TEST(LoadMap, ColumnsAreMeansOverEqualSpans) {
  LoadMap map;
  // Expert 0 has all slots in the first half, expert 1 in the second.
  for (size_t i = 0; i < 100'000; ++i) {
    map.add(i, {{i < 50'000 ? 4.0 : 0.0, i < 50'000 ? 0.0 : 4.0}});
  }
  map.finish(1'000'000);
  ASSERT_LE(map.columns(), LoadMap::kTarget);
  ASSERT_GT(map.columns(), LoadMap::kTarget / 4);
  const size_t change = 50'000 / map.width();
  for (size_t column = 0; column < map.columns(); ++column) {
    if (column == change) continue;
    EXPECT_DOUBLE_EQ(map.value(column, 0, 0), column < change ? 2 : 0);
  }
}

TEST(LoadMap, ManyExpertsHaveFewerColumns) {
  LoadMap map;
  for (size_t i = 0; i < 64; ++i) {
    map.add(i, {std::vector<double>(1000, 1.0)});
  }
  map.finish(8000);
  EXPECT_LE(map.columns() * 1000, 8000u);
  EXPECT_DOUBLE_EQ(map.value(0, 0, 999), 1);
}

TEST(LoadMap, ALayerWithoutSlotsIsDead) {
  LoadMap map;
  map.add(0, {{0, 0}});
  EXPECT_EQ(map.value(0, 0, 0), 0);
}

}  // namespace
}  // namespace annuli::report
