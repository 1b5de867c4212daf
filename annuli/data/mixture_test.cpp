#include "annuli/data/mixture.h"

#include <gmock/gmock.h>

#include <numeric>
#include <set>

#include "annuli/data/loader.h"
#include "annuli/data/shuffle.h"
#include "annuli/data/test_files.h"

namespace annuli::data {
namespace {

using testing::ElementsAre;

TEST(Shuffle, IsAPermutationThatTheKeyDraws) {
  for (const uint64_t n : {1, 2, 3, 4, 5, 16, 17, 63, 64, 65, 1000}) {
    std::set<uint64_t> seen;
    int64_t stays = 0;
    for (uint64_t i = 0; i < n; ++i) {
      const uint64_t at = shuffled(CounterRng(1, "a"), i, n);
      ASSERT_LT(at, n);
      seen.insert(at);
      if (at == i) ++stays;
    }
    EXPECT_EQ(seen.size(), n);
    // One number stays in its place on average, with a deviation of one.
    if (n > 8) {
      EXPECT_LT(stays, 8) << n;
    }
  }
  int64_t same = 0;
  for (uint64_t i = 0; i < 1000; ++i) {
    same += shuffled(CounterRng(1, "a"), i, 1000) ==
            shuffled(CounterRng(1, "b"), i, 1000);
  }
  EXPECT_LT(same, 10);
}

// Of 3 numbers there are 6 orders, each as likely as the others.
TEST(Shuffle, EveryOrderIsEquallyLikely) {
  std::vector<double> counts(9);
  constexpr int kKeys = 6000;
  for (int key = 0; key < kKeys; ++key) {
    const CounterRng rng(7, static_cast<uint64_t>(key));
    counts[shuffled(rng, 0, 3) * 3 + shuffled(rng, 1, 3)] += 1;
  }
  double chi_squared = 0;
  for (const size_t order : {1, 2, 3, 5, 6, 7}) {
    chi_squared += (counts[order] - 1000) * (counts[order] - 1000) / 1000;
  }
  // Five degrees of freedom: mean 5, variance 10; five standard deviations.
  EXPECT_LT(chi_squared, 5 + 5 * std::sqrt(10.0));
}

TEST(Mixture, KeepsItsQuotasOverWholeBlocks) {
  const std::vector<double> weights = {5, 2, 0.01, 3};
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  const Mixture mixture(weights, 1, "train");
  std::vector<uint64_t> drawn(4);
  for (uint64_t i = 0; i < 64 * 200; ++i) {
    const Mixture::Window window = mixture.window(i);
    // Inside a block they come in another order.
    EXPECT_LE(window.number, drawn[window.text] + 64);
    ++drawn[window.text];
    if ((i + 1) % 64 != 0) continue;
    EXPECT_EQ(mixture.counts(i + 1), drawn);
    for (size_t text = 0; text < 4; ++text) {
      EXPECT_NEAR(static_cast<double>(drawn[text]),
                  weights[text] / sum * static_cast<double>(i + 1), 2);
    }
  }
  EXPECT_GE(drawn[2], 10u) << "a small share is not rounded away";
}

TEST(Mixture, DrawsEachNumberOfATextOnce) {
  const Mixture mixture({1, 3}, 1, "train");
  std::vector<std::set<uint64_t>> numbers(2);
  for (uint64_t i = 0; i < 640; ++i) {
    const Mixture::Window window = mixture.window(i);
    EXPECT_TRUE(numbers[window.text].insert(window.number).second);
  }
  EXPECT_EQ(numbers[0].size(), 160u);
  EXPECT_EQ(*numbers[0].rbegin(), 159u);
  EXPECT_EQ(*numbers[1].rbegin(), 479u);
}

TEST(Mixture, ItsOrderIsDrawnBySeedAndBlock) {
  const auto order = [](uint64_t seed, uint64_t block) {
    const Mixture mixture({1, 1}, seed, "train");
    std::vector<size_t> texts;
    for (uint64_t i = 0; i < 64; ++i) {
      texts.push_back(mixture.window(block * 64 + i).text);
    }
    return texts;
  };
  EXPECT_EQ(order(1, 0), order(1, 0));
  EXPECT_NE(order(1, 0), order(2, 0));
  EXPECT_NE(order(1, 0), order(1, 1));
}

TEST(Mixture, OneTextHasAllWindows) {
  const Mixture::Window window = Mixture({0.3}, 1, "train").window(77);
  EXPECT_EQ(window.text, 0u);
  EXPECT_EQ(window.number, 77u);
}

class MixedLoader : public DataTest {};

// Two texts in one file: below 100, and from there on.
TEST_F(MixedLoader, TakesWindowsOfOneTextEach) {
  const TokenFile file(write_counting({100, 300}));
  const Loader loader({{LaidOutText(file, {{0, 100}}), 1},
                       {LaidOutText(file, {{100, 400}}), 3}},
                      {.length = 8}, 5, "train");
  const Batch batch = loader.windows(0, 128);
  int64_t first = 0;
  for (int64_t i = 0; i < 128; ++i) {
    const int64_t begin = batch.tokens[static_cast<size_t>(i * 8)];
    const int64_t end = batch.targets[static_cast<size_t>(i * 8 + 7)];
    EXPECT_EQ(end, begin + 8);
    EXPECT_EQ(begin < 100, end < 100);
    first += begin < 100;
  }
  EXPECT_EQ(first, 32);
  // Windows are numbered, batches are not.
  EXPECT_EQ(loader.windows(17, 40).tokens, batch.rows(17, 40).tokens);
  EXPECT_THAT(loader.epochs(), ElementsAre());
}

TEST_F(MixedLoader, AWeightOfOneTextAloneChangesNothing) {
  const TokenFile file(write_counting({100}));
  const Loader plain(file, {{0, 100}}, 8, 5, "train");
  const Loader mixed({{LaidOutText(file, {{0, 100}}), 0.25}}, {.length = 8}, 5,
                     "train");
  EXPECT_EQ(plain.windows(3, 20).tokens, mixed.windows(3, 20).tokens);
}

}  // namespace
}  // namespace annuli::data
