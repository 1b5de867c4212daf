#include "annuli/tokenizer/precompiled.h"

#include <gtest/gtest.h>

#include "annuli/core/error.h"
#include "annuli/tokenizer/tiny_sentencepiece_for_tests.h"

namespace annuli {
namespace {

const std::map<std::string, std::string> kRules = {
    {"\t", " "},           {"\r", " "},     {"\n", " "}, {"a", "A"},
    {"ab", "B"},           {"\u2460", "1"},  // a circled digit
    {"e\u0301", "\u00e9"}, {"\u0301", "'"}, {"\x01", ""}};

std::string normalized(const std::string& text) {
  std::string out;
  PrecompiledNormalizer(compiled_rules(kRules)).append(text, out);
  return out;
}

TEST(CharsMap, FindsTheLongestAndTheShortestRule) {
  const CharsMap map(compiled_rules(kRules));
  EXPECT_EQ(map.longest("abc")->replacement, "B");
  EXPECT_EQ(map.longest("abc")->length, 2u);
  EXPECT_EQ(map.shortest("abc")->replacement, "A");
  EXPECT_EQ(map.longest("\x01x")->replacement, "");
  EXPECT_FALSE(map.longest("b"));
  EXPECT_FALSE(map.longest("e"));
  EXPECT_FALSE(map.longest(""));
  EXPECT_FALSE(map.longest(std::string_view("\0", 1)));
  EXPECT_TRUE(map.starts_rule('e'));
  EXPECT_FALSE(map.starts_rule('b'));
}

// Each was seen in Python's `tokenizers` with the same rules.
TEST(PrecompiledNormalizer, LooksUpWholeClustersIfShort) {
  EXPECT_EQ(normalized("xe\u0301y"), "x\u00e9y");
  // The rule of the first character, and the rest of the cluster is dropped.
  EXPECT_EQ(normalized("\u2460\u0301!"), "1!");
  EXPECT_EQ(normalized("a\r\nb"), "A b");
  EXPECT_EQ(normalized("a\n\rb"), "A  b");
  EXPECT_EQ(normalized("x\x01y"), "xy");
}

TEST(PrecompiledNormalizer, LooksUpCharactersOfLongClusters) {
  EXPECT_EQ(normalized("e\u0301\u0301\u0301"), "e'''");
  EXPECT_EQ(normalized("abab"), "AbAb");  // never across clusters
}

TEST(PrecompiledNormalizer, KeepsWhatHasNoRule) {
  EXPECT_EQ(normalized(""), "");
  EXPECT_EQ(normalized("\U0001F44D\U0001F3FD \u4e2d"),
            "\U0001F44D\U0001F3FD \u4e2d");
}

TEST(CharsMap, RefusesDamagedRules) {
  const std::string good = compiled_rules(kRules);
  const auto refused = [](const std::string& blob) {
    EXPECT_THROW(CharsMap{blob}, UserError) << blob.size();
  };
  refused("");
  refused(good.substr(0, 3));
  refused(good.substr(0, 4));                     // the trie is missing
  refused(good.substr(0, good.size() / 2));       // a part of it
  refused(good.substr(0, good.find('\xc3')));     // replacements are missing
  refused(good + "\xff");                         // no UTF-8
  refused(little_endian_bytes(6) + "123456abc");  // no whole units
  refused(little_endian_bytes(0) + "abc");
}

}  // namespace
}  // namespace annuli
