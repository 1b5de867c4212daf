#include "annuli/core/quote.h"

#include <gtest/gtest.h>

namespace annuli {
namespace {

TEST(Quote, AnyTextIsOneLine) {
  EXPECT_EQ(quote("a\nb\r\n"), "'a\\x0ab\\x0d\\x0a'");
  EXPECT_EQ(one_line("\x1b[31m\x7f\t"), "\\x1b[31m\\x7f\\x09");
  EXPECT_EQ(quote("naïve 你好"), "'naïve 你好'");
  // The part that a long text is cut to, too.
  EXPECT_EQ(quote(std::string(30, '\n') + std::string(40, 'x')).find('\n'),
            std::string::npos);
}

TEST(Quote, LongTextIsCutAndItsSizeSaid) {
  EXPECT_EQ(quote(std::string(60, 'x')), "'" + std::string(60, 'x') + "'");
  EXPECT_EQ(quote(std::string(61, 'x')),
            "'" + std::string(60, 'x') + "' ... (61 bytes)");
}

}  // namespace
}  // namespace annuli
