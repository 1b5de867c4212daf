#include "annuli/core/text.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace annuli {
namespace {

TEST(Text, Counts) {
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(512), "512");
  EXPECT_EQ(format_count(999), "999");
  EXPECT_EQ(format_count(1000), "1.00 K");
  EXPECT_EQ(format_count(63.5e6), "63.5 M");
  EXPECT_EQ(format_count(239.7e6), "239.7 M");
  EXPECT_EQ(format_count(1.1726e9), "1.17 B");
  EXPECT_EQ(format_count(999.96e3), "1.00 M");
  EXPECT_EQ(format_count(-2e6), "-2.00 M");
}

TEST(Text, Bytes) {
  EXPECT_EQ(format_bytes(512), "512 B");
  EXPECT_EQ(format_bytes(14.07e9), "14.07 GB");
  EXPECT_EQ(format_bytes(999.999e6), "1.00 GB");
}

TEST(Text, Durations) {
  EXPECT_EQ(format_duration(4.23), "4.2 s");
  EXPECT_EQ(format_duration(59.97), "1:00 min");
  EXPECT_EQ(format_duration(187), "3:07 min");
  EXPECT_EQ(format_duration(3599.7), "1:00:00 h");
  EXPECT_EQ(format_duration(3723), "1:02:03 h");
  EXPECT_EQ(format_duration(std::numeric_limits<double>::infinity()), "?");
}

TEST(Text, DidYouMeanFindsTheNearestAndOnlyTheNear) {
  const std::vector<std::string> words = {"upcycle", "widen", "deepen"};
  EXPECT_EQ(did_you_mean("wdien", words), ", did you mean 'widen'?");
  EXPECT_EQ(did_you_mean("Upcycel", words), ", did you mean 'upcycle'?");
  EXPECT_EQ(did_you_mean("deepn", words), ", did you mean 'deepen'?");
  EXPECT_EQ(did_you_mean("optimizer", words), "");
  EXPECT_EQ(did_you_mean("", words), "");
  EXPECT_EQ(did_you_mean("x", std::vector<std::string>{"y"}), "");
  EXPECT_EQ(did_you_mean("x", {}), "");
}

// One edit in three letters, of the longer word, and always one.
TEST(Text, DidYouMeanAllowsOneEditInThreeLetters) {
  const auto guessed = [](const char* word, const std::string& candidate) {
    return !did_you_mean(word, std::vector<std::string>{candidate}).empty();
  };
  EXPECT_TRUE(guessed("abcdxx", "abcdef"));
  EXPECT_FALSE(guessed("abcxxx", "abcdef"));
  EXPECT_TRUE(guessed("abcdefxxx", "abcdefghi"));
  EXPECT_FALSE(guessed("abcdexxxx", "abcdefghi"));
  EXPECT_TRUE(guessed("abcdx", "abcde"));
  EXPECT_FALSE(guessed("abcxx", "abcde"));
  EXPECT_TRUE(guessed("abcd", "abcdef"));
  EXPECT_TRUE(guessed("ax", "ab"));
}

TEST(Text, BytesAreReadAsTheyAreWritten) {
  EXPECT_EQ(parse_bytes("16GB"), 16'000'000'000);
  EXPECT_EQ(parse_bytes("1.5 GB"), 1'500'000'000);
  EXPECT_EQ(parse_bytes("800MiB"), 838'860'800);
  EXPECT_EQ(parse_bytes("4096"), 4096);
  for (const char* wrong : {"", "GB", "-1GB", "0", "12 gb", "16 GBs", "nan",
                            "inf", "1e30", "0.1"}) {
    EXPECT_EQ(parse_bytes(wrong), std::nullopt) << wrong;
  }
}

TEST(Text, DurationsAreReadWithTheirUnit) {
  EXPECT_DOUBLE_EQ(*parse_duration("50us"), 50e-6);
  EXPECT_DOUBLE_EQ(*parse_duration("0.1 ms"), 1e-4);
  EXPECT_DOUBLE_EQ(*parse_duration("2s"), 2);
  for (const char* wrong : {"", "us", "5", "-1ms", "0s", "1 min", "inf s"}) {
    EXPECT_EQ(parse_duration(wrong), std::nullopt) << wrong;
  }
}

TEST(Aligned, ColumnsAreAsWideAsTheirWidestCell) {
  const std::vector<std::vector<std::string>> rows = {
      {"phase", "loss", "peak"}, {"a", "10.25", "1"}, {"bc", "-", ""}};
  EXPECT_EQ(aligned(rows, Align::kLeft),
            "phase  loss   peak\na      10.25  1\nbc     -\n");
  EXPECT_EQ(aligned(rows, Align::kRight),
            "phase   loss  peak\na      10.25     1\nbc         -\n");
}

}  // namespace
}  // namespace annuli
