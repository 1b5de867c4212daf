#include "annuli/report/comparison.h"

#include <gtest/gtest.h>

namespace annuli::report {
namespace {

TEST(Comparison, IsWhereTheShorterRunEnds) {
  const Curve first = {.loss = {4, 3, 2},
                       .axes = {{{100, 200, 300}, {1, 2, 3}, {}}}};
  const Curve second = {.loss = {5, 2.5},
                        .axes = {{{125, 250}, {4, 8}, {1, 2}}}};
  const Json rows = compare({first, second});
  ASSERT_EQ(rows.size(), 2u) << "seconds are not known of both";
  EXPECT_EQ(rows[0]["axis"], "tokens");
  EXPECT_EQ(rows[0]["at"], 250);
  EXPECT_EQ(rows[0]["losses"], Json({2.5, 2.5}));
  EXPECT_EQ(rows[1]["axis"], "flops");
  EXPECT_EQ(rows[1]["at"], 3);
  // Before its first step the second run has that step's loss.
  EXPECT_EQ(rows[1]["losses"], Json({2, 5}));
  EXPECT_EQ(rows[1]["differences"], Json({0, 3}));
}

TEST(Comparison, OfOneRunIsEmpty) {
  EXPECT_TRUE(compare({Curve{.loss = {1}, .axes = {{{1}, {1}, {1}}}}}).empty());
}

}  // namespace
}  // namespace annuli::report
