#include "annuli/data/loader.h"

#include <gmock/gmock.h>

#include <cmath>

#include "annuli/core/error.h"
#include "annuli/data/split.h"
#include "annuli/data/test_files.h"

namespace annuli::data {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

// In these files id and position are the same, so a window shows where it is.
class LoaderTest : public DataTest {};

TEST_F(LoaderTest, TargetsAreTheTokensShiftedByOne) {
  const TokenFile file(write_counting({30}));
  Loader loader(file, {{0, 30}}, 4, 1, "train");
  const Batch batch = loader.next(3);
  EXPECT_EQ(batch.batch_size, 3);
  EXPECT_EQ(batch.sequence_length, 4);
  ASSERT_EQ(batch.tokens.size(), 12u);
  ASSERT_EQ(batch.targets.size(), 12u);
  for (size_t i = 0; i < 12; ++i) {
    EXPECT_EQ(batch.tokens[i], batch.tokens[i / 4 * 4] + int64_t(i % 4));
    EXPECT_EQ(batch.targets[i], batch.tokens[i] + 1);
  }
}

TEST_F(LoaderTest, ResumesFromItsState) {
  const TokenFile file(write_counting({1000}));
  Loader whole(file, {{0, 1000}}, 8, 7, "train");
  whole.next(5);
  const LoaderState saved = whole.state();
  EXPECT_EQ(saved, (LoaderState{7, 5}));
  const Batch expected = whole.next(6);

  Loader resumed(file, {{0, 1000}}, 8, 7, "train");
  EXPECT_NE(resumed.next(6).tokens, expected.tokens);
  resumed.seek(saved);
  // In other batches, too: windows are numbered, batches are not.
  const Batch first = resumed.next(2);
  const Batch second = resumed.next(4);
  EXPECT_EQ(first.tokens, expected.rows(0, 2).tokens);
  EXPECT_EQ(second.tokens, expected.rows(2, 4).tokens);
  EXPECT_EQ(second.targets, expected.rows(2, 4).targets);
  EXPECT_EQ(resumed.state(), whole.state());
  EXPECT_EQ(resumed.windows(5, 6).tokens, expected.tokens);
}

TEST_F(LoaderTest, SeekRefusesAnotherSeed) {
  const TokenFile file(write_counting({10}));
  Loader loader(file, {{0, 10}}, 2, 1, "train");
  EXPECT_THAT(
      [&] {
        loader.seek({2, 0});
      },
      ThrowsMessage<UserError>(HasSubstr("data seed 2")));
}

TEST_F(LoaderTest, SeedsAndStreamsDrawIndependently) {
  const TokenFile file(write_counting({1000}));
  const auto drawn = [&](uint64_t seed, std::string_view stream) {
    return Loader(file, {{0, 1000}}, 8, seed, stream).windows(0, 8).tokens;
  };
  EXPECT_EQ(drawn(1, "train"), drawn(1, "train"));
  EXPECT_NE(drawn(1, "train"), drawn(2, "train"));
  EXPECT_NE(drawn(1, "train"), drawn(1, "probe"));
}

TEST_F(LoaderTest, EveryStartIsEquallyLikely) {
  const TokenFile file(write_counting({20, 50, 30}));
  // The middle document is held out: 50 tokens stay, 47 starts of T = 3.
  const Loader loader(file, {{0, 20}, {70, 100}}, 3, 11, "train");
  constexpr int64_t kDraws = 47 * 400;
  std::vector<int64_t> drawn(47);
  const Batch batch = loader.windows(0, kDraws);
  for (int64_t i = 0; i < kDraws; ++i) {
    const int64_t id = batch.tokens[static_cast<size_t>(i * 3)];
    ASSERT_TRUE(id < 20 || id >= 70) << id;
    const int64_t start = id < 20 ? id : id - 50;
    ASSERT_LT(start, 47);
    ++drawn[static_cast<size_t>(start)];
  }
  // Chi-squared of 46 degrees of freedom: mean 46, variance 92; five standard
  // deviations. A start never drawn would add 400.
  double chi_squared = 0;
  for (int64_t count : drawn) {
    chi_squared += std::pow(static_cast<double>(count) - 400, 2) / 400;
  }
  EXPECT_LT(chi_squared, 46 + 5 * std::sqrt(92.0));
}

TEST_F(LoaderTest, WindowsCrossDocumentsInsideTheSetOnly) {
  const TokenFile file(write_counting({2, 5, 1, 2}));
  const Loader loader(file, {{0, 2}, {7, 8}, {8, 10}}, 4, 1, "train");
  const Batch batch = loader.windows(0, 1);  // the only one there is
  EXPECT_THAT(batch.tokens, ElementsAre(0, 1, 7, 8));
  EXPECT_THAT(batch.targets, ElementsAre(1, 7, 8, 9));
}

TEST_F(LoaderTest, FixedWindowsAreSpreadAndDoNotOverlap) {
  const TokenFile file(write_counting({103}));
  const Loader loader(file, {{0, 103}}, 4, 1, "validation");
  EXPECT_EQ(loader.max_fixed_windows(), 20);
  for (int64_t count : {1, 3, 8, 19, 20}) {
    const Batch batch = loader.fixed_windows(count);
    ASSERT_EQ(batch.batch_size, count);
    for (int64_t i = 1; i < count; ++i) {
      EXPECT_GT(batch.tokens[static_cast<size_t>(i * 4)],
                batch.targets[static_cast<size_t>(i * 4 - 1)]);
    }
    // The last one ends within two strides of the end.
    EXPECT_GE(batch.targets.back() + 2 * 103 / count, 102);
  }
  const Loader other_seed(file, {{0, 103}}, 4, 2, "validation");
  EXPECT_EQ(other_seed.fixed_windows(8).tokens, loader.fixed_windows(8).tokens);
  EXPECT_THAT([&] { loader.fixed_windows(21); },
              ThrowsMessage<UserError>(HasSubstr("enough for 20")));
}

TEST_F(LoaderTest, TooShortATextIsAnError) {
  const TokenFile file(write_counting({4, 4}));
  EXPECT_NO_THROW(Loader(file, {{0, 4}}, 3, 1, "train"));
  EXPECT_THAT(
      [&] {
        Loader(file, {{0, 4}}, 4, 1, "train");
      },
      ThrowsMessage<UserError>(
          HasSubstr("found 4 tokens, expected at least 5")));
  EXPECT_THROW(Loader(file, {}, 4, 1, "train"), UserError);
}

TEST_F(LoaderTest, RowsAreCheckedSlices) {
  const TokenFile file(write_counting({40}));
  const Batch batch = Loader(file, {{0, 40}}, 4, 1, "x").windows(0, 3);
  EXPECT_EQ(batch.rows(0, 3).tokens, batch.tokens);
  EXPECT_EQ(batch.rows(2, 1).batch_size, 1);
  EXPECT_EQ(batch.rows(2, 1).targets.back(), batch.targets.back());
  EXPECT_THROW(batch.rows(2, 2), CheckFailure);
}

}  // namespace
}  // namespace annuli::data
