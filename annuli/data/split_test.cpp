#include "annuli/data/split.h"

#include <gmock/gmock.h>

#include <set>

#include "annuli/core/error.h"
#include "annuli/data/test_files.h"

namespace annuli::data {
namespace {

class SplitTest : public DataTest {};

std::set<int64_t> tokens_of(const DocumentSet& set) {
  std::set<int64_t> tokens;
  for (const TokenRange& range : set.ranges) {
    for (int64_t i = range.begin; i < range.end; ++i) tokens.insert(i);
  }
  return tokens;
}

TEST_F(SplitTest, EveryDocumentIsOnOneSideAsAWhole) {
  std::vector<int64_t> lengths;
  for (int64_t i = 0; i < 40; ++i) lengths.push_back(1 + i % 7);
  const TokenFile file(write_counting(lengths));
  const Split split = split_documents(file, 0.1, 3);
  EXPECT_EQ(split.validation.documents, 4);
  EXPECT_EQ(split.train.documents, 36);
  const auto train = tokens_of(split.train);
  const auto held_out = tokens_of(split.validation);
  EXPECT_EQ(std::ssize(train), split.train.tokens);
  EXPECT_EQ(std::ssize(held_out), split.validation.tokens);
  EXPECT_EQ(split.train.tokens + split.validation.tokens, file.token_count());
  EXPECT_EQ(split.train.text_bytes, split.train.tokens * 3);
  EXPECT_EQ(split.validation.text_bytes, split.validation.tokens * 3);
  for (int64_t i = 0; i < file.document_count(); ++i) {
    const TokenRange document = file.document(i);
    for (int64_t t = document.begin; t < document.end; ++t) {
      EXPECT_EQ(held_out.count(t), held_out.count(document.begin));
      EXPECT_NE(held_out.count(t), train.count(t));
    }
  }
}

TEST_F(SplitTest, FollowsTheSeedAndNothingElse) {
  const TokenFile file(write_counting(std::vector<int64_t>(200, 2)));
  const auto chosen = [&](uint64_t seed) {
    return tokens_of(split_documents(file, 0.2, seed).validation);
  };
  EXPECT_EQ(chosen(1), chosen(1));
  EXPECT_NE(chosen(1), chosen(2));
  // A different text of as many documents: the same documents.
  const auto before = chosen(1);
  const TokenFile other(write_counting(std::vector<int64_t>(200, 1)));
  std::set<int64_t> doubled;
  for (int64_t t : tokens_of(split_documents(other, 0.2, 1).validation)) {
    doubled.insert({2 * t, 2 * t + 1});
  }
  EXPECT_EQ(before, doubled);
}

TEST_F(SplitTest, RangesOfNeighboursAreJoined) {
  const TokenFile file(write_counting({5, 5, 5, 5, 5, 5}));
  const Split split = split_documents(file, 0.01, 1);
  EXPECT_EQ(split.validation.documents, 1);
  EXPECT_LE(split.train.ranges.size(), 2u);
  EXPECT_EQ(all_documents(file).ranges, (std::vector<TokenRange>{{0, 30}}));
}

TEST_F(SplitTest, BothSidesGetADocument) {
  const TokenFile file(write_counting({4, 4}));
  for (double fraction : {1e-9, 0.5, 0.999}) {
    const Split split = split_documents(file, fraction, 1);
    EXPECT_EQ(split.train.documents, 1);
    EXPECT_EQ(split.validation.documents, 1);
  }
}

TEST_F(SplitTest, SingleDocumentGivesItsTail) {
  const TokenFile file(write_counting({100}));
  const Split split = split_documents(file, 0.1, 1);
  EXPECT_EQ(split.train.ranges, (std::vector<TokenRange>{{0, 90}}));
  EXPECT_EQ(split.validation.ranges, (std::vector<TokenRange>{{90, 100}}));
  EXPECT_EQ(split.train.text_bytes, 270);
  EXPECT_EQ(split.validation.text_bytes, 30);
  const TokenFile two(write_counting({2}));
  EXPECT_EQ(split_documents(two, 1e-9, 1).validation.tokens, 1);
  const TokenFile one(write_counting({1}));
  EXPECT_THROW(split_documents(one, 0.1, 1), UserError);
}

TEST_F(SplitTest, FractionZeroTrainsOnAll) {
  const TokenFile file(write_counting({3, 4}));
  const Split split = split_documents(file, 0, 1);
  EXPECT_EQ(split.train.tokens, 7);
  EXPECT_EQ(split.validation.tokens, 0);
  EXPECT_THROW(split_documents(file, 1, 1), UserError);
  EXPECT_THROW(split_documents(file, -0.1, 1), UserError);
  EXPECT_THROW(split_documents(file, std::nan(""), 1), UserError);
}

}  // namespace
}  // namespace annuli::data
