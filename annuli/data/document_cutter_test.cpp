#include "annuli/data/document_cutter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "annuli/core/rng.h"

namespace annuli::data {
namespace {

using testing::ElementsAre;

std::vector<std::string> cut(std::string_view text, const std::string& at,
                             size_t piece = 1 << 20) {
  std::vector<std::string> documents;
  DocumentCutter cutter(at,
                        [&](std::string_view d) { documents.emplace_back(d); });
  for (size_t i = 0; i < text.size(); i += piece) {
    cutter.add(text.substr(i, piece));
  }
  cutter.finish();
  return documents;
}

TEST(DocumentCutter, TheSeparatorAndItsLineBreakGo) {
  EXPECT_THAT(cut("a\n<|e|>\nb\n<|e|>\n", "<|e|>"),
              ElementsAre("a\n", "b\n", ""));
  EXPECT_THAT(cut("a\r\n<|e|>\r\nb", "<|e|>"), ElementsAre("a\r\n", "b"));
  EXPECT_THAT(cut("a<|e|>b", "<|e|>"), ElementsAre("a", "b"));
  EXPECT_THAT(cut("<|e|>\n\nb<|e|>\r", "<|e|>"), ElementsAre("", "\nb", "\r"));
  EXPECT_THAT(cut("a\n%\nb%c", "\n%\n"), ElementsAre("a", "b%c"));
}

TEST(DocumentCutter, WithoutASeparatorTheTextIsOneDocument) {
  EXPECT_THAT(cut("a<|e|b", "<|e|>"), ElementsAre("a<|e|b"));
  EXPECT_THAT(cut("a<|e|>b", ""), ElementsAre("a<|e|>b"));
  EXPECT_THAT(cut("", "<|e|>"), ElementsAre(""));
}

TEST(DocumentCutter, SeparatorsDoNotOverlap) {
  EXPECT_THAT(cut("aaaaa", "aa"), ElementsAre("", "", "a"));
}

// Pieces of every length give what the whole gives.
TEST(DocumentCutter, PiecesMayBeCutAnywhere) {
  const CounterRng rng(3, "test/cutter");
  std::string text;
  for (uint64_t i = 0; i < 3000; ++i) text += "ab|\n\r"[rng.below(i, 5)];
  for (const char* at : {"|", "ab", "a|b", "||", "|\n"}) {
    const auto whole = cut(text, at);
    EXPECT_GT(whole.size(), 5u) << at;
    for (const size_t piece : {1, 2, 3, 7, 64}) {
      EXPECT_EQ(cut(text, at, piece), whole) << at << " " << piece;
    }
  }
}

}  // namespace
}  // namespace annuli::data
