#include "annuli/core/error.h"

#include <gtest/gtest.h>

namespace annuli {
namespace {

static_assert(detail::has_words("layer {} of {}"));
static_assert(detail::has_words("{:.3f} nats"));
static_assert(!detail::has_words(""));
static_assert(!detail::has_words("{}"));
static_assert(!detail::has_words("{:x} {:.3f}, {}"));

TEST(Error, FailedCheckSaysWhereAndWhatWasFound) {
  const int found = 3;
  std::string words;
  try {
    ANNULI_CHECK(found < 3, "layer {} of {}", found, 3);
  } catch (const CheckFailure& failure) {
    words = failure.what();
  }
  EXPECT_NE(words.find("error_test.cpp:"), std::string::npos) << words;
  EXPECT_TRUE(words.ends_with("found < 3 does not hold: layer 3 of 3"))
      << words;
}

TEST(Error, ACheckThatHoldsDoesNotFormItsWords) {
  int formed = 0;
  const auto form = [&] { return ++formed; };
  ANNULI_CHECK(formed == 0, "words formed {} times", form());
  EXPECT_EQ(formed, 0);
}

}  // namespace
}  // namespace annuli
