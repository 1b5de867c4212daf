#include "annuli/core/markdown.h"

#include <gtest/gtest.h>

namespace annuli {
namespace {

TEST(Markdown, TextIsOneLineWithoutMarkup) {
  EXPECT_EQ(markdown_text("a|b\n<b>*c*</b>"), R"(a\|b \<b\>\*c\*\</b\>)");
  EXPECT_EQ(markdown_text("[x](y) `z` \\ ![i]"),
            R"(\[x\](y) \`z\` \\ \!\[i\])");
}

TEST(Markdown, CodeHoldsBackticksAndBars) {
  EXPECT_EQ(markdown_code("plain"), "`plain`");
  EXPECT_EQ(markdown_code("a`b``c"), "```a`b``c```");
  EXPECT_EQ(markdown_code("`a"), "`` `a ``");
  EXPECT_EQ(markdown_code("a|b\nc"), "`a\\|b c`");
  EXPECT_EQ(markdown_code(""), "`  `");
}

TEST(Markdown, NothingEndsABlockFromWithin) {
  EXPECT_EQ(markdown_block("a"), "```text\na\n```\n");
  EXPECT_EQ(markdown_block("x\n````\n</details>\n"),
            "`````text\nx\n````\n</details>\n`````\n");
}

TEST(Markdown, TheFirstRowIsTheHeading) {
  EXPECT_EQ(markdown_table({{"a", "b", "c"}, {"x", "2", "3"}, {"4", "-", "y"}}),
            "| a | b | c |\n| --- | ---: | --- |\n| x | 2 | 3 |\n"
            "| 4 | - | y |\n");
}

}  // namespace
}  // namespace annuli
