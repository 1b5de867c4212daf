#include "annuli/tokenizer/split_pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "annuli/core/error.h"
#include "annuli/tokenizer/pre_tokenizer.h"
#include "annuli/tokenizer/split_syntax.h"

namespace annuli {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> split(const std::string& pattern,
                               std::string_view text) {
  const SplitPattern compiled(pattern);
  SplitPattern::Workspace workspace(compiled);
  std::vector<std::string> pieces;
  compiled.split(text, workspace,
                 [&](std::string_view piece) { pieces.emplace_back(piece); });
  return pieces;
}

TEST(SplitPattern, Gpt2Words) {
  EXPECT_THAT(split(PreTokenizer::kGpt2Pattern, "I'm  at 12b, ok?!\n\n x"),
              ElementsAre("I", "'m", " ", " at", " 12", "b", ",", " ok", "?!",
                          "\n\n", " x"));
}

TEST(SplitPattern, GapsBetweenMatchesArePieces) {
  EXPECT_THAT(split("\\p{N}", "ab1c23"), ElementsAre("ab", "1", "c", "2", "3"));
}

TEST(SplitPattern, SpaceIsUnicodesWhiteSpace) {
  EXPECT_THAT(split("\\s", "\xE2\x80\xA8"), ElementsAre("\xE2\x80\xA8"));
  EXPECT_THAT(split("\\s", "a\xC2\x85z"), ElementsAre("a", "\xC2\x85", "z"));
  // U+180E, which PCRE2's own \s takes in.
  EXPECT_THAT(split("\\s", "a\xE1\xA0\x8Ez"), ElementsAre("a\xE1\xA0\x8Ez"));
  EXPECT_THAT(split("[^\\S]", "a z"), ElementsAre("a", " ", "z"));
}

TEST(SplitPattern, CaseIsIgnoredOnlyWithinItsGroup) {
  EXPECT_THAT(split("(?i:'s)|x", "'SX"), ElementsAre("'S", "X"));
}

TEST(SplitPattern, LongRunsNeedNoDeepStack) {
  const std::string spaces(300000, ' ');
  const auto pieces = split("(?:\\s|x)+(?!\\S)|\\s", spaces + "a");
  EXPECT_EQ(pieces[0].size(), spaces.size() - 1);
}

TEST(SplitPattern, RefusesWhatOnigurumaReadsDifferently) {
  for (const char* pattern :
       {"\\W+",         "\\bx",  "\\h",        "^x",           "x$",
        "\\p{N}{1,3}+", "x{2}?", "x{,3}",      "[a[b]]",       "[a&&b]",
        "(?m:x)",       "(?i)x", "(?<n>x)",    "(*UTF)x",      "(x)\\1",
        "\\Kx",         "\\Cx",  "\\p{Alpha}", "(?i:\\p{Lu})", "[\\s-x]",
        "[a-\\s]",      "\\xFF", "[",          "\\",           "(x",
        "x)",           "\\p{L", "[]",         "x{99999999}"}) {
    EXPECT_THROW(SplitPattern{pattern}, UserError) << pattern;
  }
}

TEST(SplitPattern, RefusesPatternsThatMatchNothing) {
  for (const char* pattern : {"", "x*", "(?=x)", "x|", "a??"}) {
    EXPECT_THROW(SplitPattern{pattern}, UserError) << pattern;
  }
}

TEST(SplitPattern, QuotedTextMatchesItself) {
  const std::string odd = "a.b*[c]\\(é){1}^$|?+-";
  EXPECT_THAT(split(quoted_pattern(odd), "x" + odd + "y"),
              ElementsAre("x", odd, "y"));
}

TEST(SplitPattern, WordCharacters) {
  EXPECT_THAT(split("\\w+", "a_\u0301\u0661-\u203f. \u200d"),
              ElementsAre("a_\u0301\u0661", "-", "\u203f", ". \u200d"));
  EXPECT_THAT(split("[\\w.]+", "a.b!"), ElementsAre("a.b", "!"));
}

TEST(PreTokenizer, StagesApplyToThePiecesOfTheStageBefore) {
  PreTokenizer words;
  words.add_split("\\p{N}");
  words.add_prefix_space();
  words.add_split(PreTokenizer::kGpt2Pattern);
  auto workspace = words.make_workspace();
  std::vector<std::string> pieces;
  words.split("ab 1 c", true, workspace,
              [&](std::string_view piece) { pieces.emplace_back(piece); });
  EXPECT_THAT(pieces, ElementsAre(" ab", " ", " 1", " c"));
}

std::vector<std::string> behave(SplitBehavior behavior, bool invert = false) {
  PreTokenizer words;
  words.add_split("-", behavior, invert);
  auto workspace = words.make_workspace();
  std::vector<std::string> pieces;
  words.split("-a--b-", true, workspace,
              [&](std::string_view piece) { pieces.emplace_back(piece); });
  return pieces;
}

// As Python's pre_tokenizers.Split("-", ...).pre_tokenize_str("-a--b-").
TEST(PreTokenizer, EveryBehaviorOfASplit) {
  EXPECT_THAT(behave(SplitBehavior::kIsolated),
              ElementsAre("-", "a", "-", "-", "b", "-"));
  EXPECT_THAT(behave(SplitBehavior::kRemoved), ElementsAre("a", "b"));
  EXPECT_THAT(behave(SplitBehavior::kWithPrevious),
              ElementsAre("-", "a-", "-", "b-"));
  EXPECT_THAT(behave(SplitBehavior::kWithNext),
              ElementsAre("-a", "-", "-b", "-"));
  EXPECT_THAT(behave(SplitBehavior::kContiguous),
              ElementsAre("-", "a", "--", "b", "-"));
  EXPECT_THAT(behave(SplitBehavior::kRemoved, true),
              ElementsAre("-", "-", "-", "-"));
  EXPECT_THAT(behave(SplitBehavior::kWithNext, true),
              ElementsAre("-", "a-", "-", "b-"));
}

}  // namespace
}  // namespace annuli
