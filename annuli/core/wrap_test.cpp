#include "annuli/core/wrap.h"

#include <gtest/gtest.h>

namespace annuli {
namespace {

TEST(Wrap, BreaksAtTheLastSpaceThatFits) {
  EXPECT_EQ(wrapped("", 5), "");
  EXPECT_EQ(wrapped("one two", 7), "one two");
  EXPECT_EQ(wrapped("one two", 6), "one\ntwo");
  EXPECT_EQ(wrapped("a b c d e", 3), "a b\nc d\ne");
}

TEST(Wrap, AWordThatIsTooLongStandsAlone) {
  EXPECT_EQ(wrapped("to incomprehensible ends", 5),
            "to\nincomprehensible\nends");
}

TEST(Wrap, NewlinesStay) {
  EXPECT_EQ(wrapped("one\ntwo three", 9), "one\ntwo three");
  EXPECT_EQ(wrapped("one\n\ntwo", 9), "one\n\ntwo");
}

TEST(Wrap, IndentsAllLinesButTheFirst) {
  EXPECT_EQ(indented("one\ntwo\nthree", "  "), "one\n  two\n  three");
}

}  // namespace
}  // namespace annuli
