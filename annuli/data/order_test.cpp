#include <gmock/gmock.h>

#include <algorithm>
#include <set>

#include "annuli/core/error.h"
#include "annuli/data/loader.h"
#include "annuli/data/test_files.h"

// The order of epochs. In these files id and position are the same.
namespace annuli::data {
namespace {

using testing::DoubleEq;
using testing::ElementsAre;

class EpochOrder : public DataTest {
 protected:
  Loader loader(int64_t tokens, int64_t length, uint64_t seed = 1) {
    file_.emplace(write_counting({tokens}));
    return {{{LaidOutText(*file_, {{0, tokens}})}},
            {.length = length, .in_epochs = true},
            seed,
            "train"};
  }

  static std::vector<int64_t> begins(const Batch& batch) {
    std::vector<int64_t> begins;
    for (int64_t i = 0; i < batch.batch_size; ++i) {
      begins.push_back(
          batch.tokens[static_cast<size_t>(i * batch.sequence_length)]);
    }
    return begins;
  }

  std::optional<TokenFile> file_;
};

TEST_F(EpochOrder, EachTokenIsAnInputOnceInAnEpoch) {
  const Loader windows = loader(96, 8);
  for (uint64_t epoch = 0; epoch < 5; ++epoch) {
    Batch batch = windows.windows(epoch * 12, 12);
    std::ranges::sort(batch.tokens);
    std::ranges::sort(batch.targets);
    for (size_t i = 0; i < 96; ++i) {
      ASSERT_EQ(batch.tokens[i], static_cast<int64_t>(i)) << epoch;
      ASSERT_EQ(batch.targets[i], static_cast<int64_t>(i)) << epoch;
    }
  }
}

// 100 tokens are 12 windows of 8, and 4 tokens that are left over: not always
// the same.
TEST_F(EpochOrder, WhatIsLeftOverIsNotAlwaysTheSame) {
  const Loader windows = loader(100, 8);
  std::set<int64_t> left_over;
  for (uint64_t epoch = 0; epoch < 20; ++epoch) {
    const Batch batch = windows.windows(epoch * 12, 12);
    const std::set<int64_t> read(batch.tokens.begin(), batch.tokens.end());
    EXPECT_EQ(read.size(), 96u);
    for (int64_t id = 0; id < 100; ++id) {
      if (!read.contains(id)) left_over.insert(id);
    }
  }
  EXPECT_GT(left_over.size(), 20u);
}

TEST_F(EpochOrder, EpochsDifferInCutAndOrder) {
  const Loader windows = loader(800, 8);
  const auto first = begins(windows.windows(0, 100));
  const auto second = begins(windows.windows(100, 100));
  // In the text's order one window at most begins before the one before it.
  int64_t back = 0;
  for (size_t i = 1; i < first.size(); ++i) back += first[i] < first[i - 1];
  EXPECT_GT(back, 20);
  EXPECT_NE(first, second);
  const auto rest = [](int64_t begin) { return begin % 8; };
  const auto cut = [&](const std::vector<int64_t>& epoch) {
    std::set<int64_t> rests;
    std::ranges::transform(epoch, std::inserter(rests, rests.end()), rest);
    return rests;
  };
  EXPECT_EQ(cut(first).size(), 1u) << "800 is whole windows";
  std::set<int64_t> cuts;
  for (uint64_t epoch = 0; epoch < 20; ++epoch) {
    cuts.merge(cut(begins(windows.windows(epoch * 100, 100))));
  }
  EXPECT_GT(cuts.size(), 4u);
  EXPECT_NE(begins(loader(800, 8, 2).windows(0, 100)), first);
}

TEST_F(EpochOrder, WindowsAreRandomAccess) {
  Loader windows = loader(100, 8);
  const Batch all = windows.windows(0, 60);
  EXPECT_EQ(windows.windows(31, 9).tokens, all.rows(31, 9).tokens);
  windows.next(30);
  EXPECT_THAT(windows.epochs(), ElementsAre(DoubleEq(2.5)));
  const LoaderState saved = windows.state();
  Loader resumed = loader(100, 8);
  resumed.seek(saved);
  EXPECT_EQ(resumed.next(30).tokens, all.rows(30, 30).tokens);
}

// With a new length epochs begin anew, in orders that have not been yet.
TEST_F(EpochOrder, ANewLengthBeginsAnEpoch) {
  Loader windows = loader(96, 8);
  const Batch first = windows.next(12);
  windows.next(5);
  windows.begin_epochs();
  EXPECT_THAT(windows.epochs(), ElementsAre(0));
  EXPECT_EQ(windows.state(), (LoaderState{1, 17, 17}));
  const Batch again = windows.next(12);
  EXPECT_NE(again.tokens, first.tokens);
  std::set<int64_t> read(again.tokens.begin(), again.tokens.end());
  EXPECT_EQ(read.size(), 96u);
  EXPECT_THROW(windows.windows(16, 1), CheckFailure);
  Loader resumed = loader(96, 8);
  resumed.seek({1, 17, 17});
  EXPECT_EQ(resumed.next(12).tokens, again.tokens);
}

// A text of 48 tokens that has a third of the windows is read more often than
// one of 192.
TEST_F(EpochOrder, EachTextOfAMixtureHasItsOwnEpochs) {
  const TokenFile file(write_counting({48, 192}));
  Loader windows(
      {{LaidOutText(file, {{0, 48}}), 1}, {LaidOutText(file, {{48, 240}}), 2}},
      {.length = 8, .in_epochs = true}, 3, "train");
  std::vector<int64_t> counts(240);
  const Batch batch = windows.next(192);  // 64 of the first, 128 of the second
  for (const int64_t id : batch.tokens) ++counts[static_cast<size_t>(id)];
  for (size_t id = 0; id < 240; ++id) {
    // 64 / 6 and 128 / 24 epochs.
    EXPECT_GE(counts[id], id < 48 ? 10 : 5);
    EXPECT_LE(counts[id], id < 48 ? 11 : 6);
  }
  EXPECT_THAT(windows.epochs(),
              ElementsAre(DoubleEq(64.0 / 6), DoubleEq(128.0 / 24)));
}

}  // namespace
}  // namespace annuli::data
