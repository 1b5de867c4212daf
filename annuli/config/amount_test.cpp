#include "annuli/config/amount.h"

#include <gtest/gtest.h>

namespace annuli {
namespace {

TEST(Amount, IsReadInEachUnit) {
  using enum Amount::Unit;
  EXPECT_EQ(parse_amount("500"), (Amount{500, kSteps}));
  EXPECT_EQ(parse_amount("500 steps"), (Amount{500, kSteps}));
  EXPECT_EQ(parse_amount("1 step"), (Amount{1, kSteps}));
  EXPECT_EQ(parse_amount("0"), (Amount{0, kSteps}));
  EXPECT_EQ(parse_amount("2%"), (Amount{0.02, kShare}));
  EXPECT_EQ(parse_amount("12.5 %"), (Amount{0.125, kShare}));
  EXPECT_EQ(parse_amount("1e6 tokens"), (Amount{1e6, kTokens}));
}

TEST(Amount, AnythingElseIsNone) {
  for (const char* text : {"", "x", "-1", "2 %%", "101%", "nan", "inf", "1e999",
                           "5 epochs", "5steps tokens", "%", " 5"}) {
    EXPECT_EQ(parse_amount(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace annuli
