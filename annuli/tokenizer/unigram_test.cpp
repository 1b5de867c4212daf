#include "annuli/tokenizer/unigram.h"

#include <gtest/gtest.h>

#include <limits>

#include "annuli/core/error.h"

namespace annuli {
namespace {

using Ids = std::vector<int32_t>;

UnigramDefinition vocabulary() {
  return {.source = "tiny",
          .pieces = {{"<unk>", 0.0},
                     {"a", 0.0},
                     {"b", 0.0},
                     {"c", 0.0},
                     {"d", 0.0},
                     {"cd", 1.0},
                     {"ab", 2.0},
                     {"abc", 5.0},
                     {"abcd", 10.0}},
          .unknown_id = 0};
}

Ids ids_of(const UnigramModel& model, std::string_view word,
           int64_t* dropped = nullptr) {
  const auto workspace = model.make_workspace();
  Ids ids;
  model.append_ids(word, *workspace, ids);
  const Ids once = ids;
  ids.clear();
  model.append_ids(word, *workspace, ids);  // now from the cache
  EXPECT_EQ(ids, once);
  if (dropped != nullptr) *dropped = workspace->dropped_bytes;
  return ids;
}

// The ids of Python's `tokenizers` for the same vocabulary.
TEST(Unigram, TakesTheBestSumAndFusesTheUnknown) {
  const UnigramModel model(vocabulary());
  EXPECT_EQ(ids_of(model, "abcd"), Ids{8});
  EXPECT_EQ(ids_of(model, "abcc"), (Ids{7, 3}));
  EXPECT_EQ(ids_of(model, "abcdacdxx"), (Ids{8, 1, 5, 0}));
  EXPECT_EQ(ids_of(model, "xaxx\u00e9"), (Ids{0, 1, 0}));
  EXPECT_EQ(ids_of(model, "x<unk>a"), (Ids{0, 1}));
}

TEST(Unigram, FallsBackToBytesWhereAllHaveTokens) {
  UnigramDefinition definition = vocabulary();
  definition.byte_fallback = true;
  definition.pieces.emplace_back("<0xC3>", 0.0);
  EXPECT_EQ(ids_of(UnigramModel(definition), "a\u00e9"), (Ids{1, 0}));
  definition.pieces.emplace_back("<0xA9>", 0.0);
  EXPECT_EQ(ids_of(UnigramModel(definition), "a\u00e9b"), (Ids{1, 9, 10, 2}));
  const UnigramModel model(definition);
  const auto workspace = model.make_workspace();
  Ids ids;
  model.append_invalid("\xc3", *workspace, ids);
  EXPECT_EQ(ids, Ids{9});
}

TEST(Unigram, LeavesOutWhatNothingStandsForAndCountsIt) {
  UnigramDefinition definition = vocabulary();
  definition.unknown_id = std::nullopt;
  int64_t dropped = 0;
  EXPECT_EQ(ids_of(UnigramModel(definition), "ax\u00e9", &dropped), Ids{1});
  EXPECT_EQ(dropped, 2 * 3);  // the word came twice
}

TEST(Unigram, RefusesWhatIsNoVocabulary) {
  const auto refused = [](const UnigramDefinition& definition) {
    EXPECT_THROW(UnigramModel{definition}, UserError);
  };
  refused({.source = "tiny"});
  UnigramDefinition definition = vocabulary();
  definition.unknown_id = 9;
  refused(definition);
  definition = vocabulary();
  definition.pieces[2].second = std::numeric_limits<double>::infinity();
  refused(definition);
}

}  // namespace
}  // namespace annuli
