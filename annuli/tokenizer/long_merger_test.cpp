#include "annuli/tokenizer/long_merger.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <unordered_map>

#include "annuli/core/rng.h"
#include "annuli/tokenizer/token_merges.h"

namespace annuli {
namespace {

using Ids = std::vector<int32_t>;

constexpr int32_t kLetters = 4;  // 0 is the mark

// Random texts as tokens, of random ranks: a long token may merge before the
// short ones that others are made of.
struct RandomTokens {
  explicit RandomTokens(uint64_t seed, int count = 60) {
    const CounterRng rng(seed, "long_merger_test");
    uint64_t draw = 0;
    for (int32_t id = 0; id < kLetters; ++id) {
      texts.push_back(std::string(1, static_cast<char>('a' + id)));
    }
    while (std::ssize(texts) < kLetters + count) {
      const auto left = rng.below(draw++, texts.size());
      const auto right = rng.below(draw++, texts.size());
      const std::string text = texts[left] + texts[right];
      if (text.size() > 12 || std::ranges::count(texts, text) > 0) continue;
      texts.push_back(text);
    }
    for (size_t id = 0; id < texts.size(); ++id) {
      ids.emplace(texts[id], static_cast<int32_t>(id));
      if (id < kLetters) continue;
      ranked.push_back({texts[id],
                        static_cast<int32_t>(rng.below(draw++, count)),
                        static_cast<int32_t>(id)});
    }
  }
  MergeTable merges() const { return merges_of_tokens(ranked, ids); }

  std::vector<std::string> texts;
  std::unordered_map<std::string_view, int32_t> ids;
  std::vector<RankedToken> ranked;
};

// Stretches of few letters and of repeated words, where borders matter.
Ids random_symbols(uint64_t seed, size_t length) {
  const CounterRng rng(seed, "symbols");
  Ids symbols;
  for (uint64_t draw = 0; symbols.size() < length;) {
    const uint64_t period = 1 + rng.below(draw++, 7);
    const uint64_t repeats = 1 + rng.below(draw++, 9);
    for (uint64_t i = 0; i < period * repeats; ++i) {
      symbols.push_back(static_cast<int32_t>(
          rng.below(1'000'000 + draw + i % period, kLetters)));
    }
    draw += period;
  }
  symbols.resize(length);
  return symbols;
}

Ids merged_at_once(const MergeTable& merges, Ids symbols) {
  PairMerger(merges).run(symbols);
  return symbols;
}

TEST(LongMerger, MakesWhatMergingAtOnceMakes) {
  size_t merged = 0;
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const RandomTokens tokens(seed);
    const MergeTable merges = tokens.merges();
    LongMerger merger(merges, seed % 2 == 0 ? 0 : -1);
    for (size_t length = 100; length < 3000; length += 217) {
      Ids symbols = random_symbols(seed * 100 + length, length);
      const Ids expected = merged_at_once(merges, symbols);
      merger.run(symbols);
      ASSERT_EQ(symbols, expected) << "seed " << seed << " length " << length;
      merged += length - symbols.size();
    }
  }
  EXPECT_GT(merged, 300'000u);  // of 1.2 million: the tokens did occur
}

// A chain in which each pair merges before the one on its left: what the first
// symbol becomes depends on how far away the last one is.
TEST(LongMerger, TakesBackAsManyTokensAsABorderNeeds) {
  constexpr int32_t kSymbols = 400;
  MergeTable merges(kSymbols);
  for (int32_t i = 0; i + 1 < kSymbols; ++i) {
    merges.insert(i, i + 1, {kSymbols - i, kSymbols + i});
  }
  LongMerger merger(merges);
  for (int32_t length : {398, 399, 400}) {
    Ids symbols;
    for (int32_t i = 0; i < length; ++i) symbols.push_back(i);
    const Ids expected = merged_at_once(merges, symbols);
    merger.run(symbols);
    EXPECT_EQ(symbols, expected) << length;
  }
}

// A token of two sequences, and a symbol that is also what others merge into:
// whether such a token merges on cannot be known from its id.
TEST(LongMerger, LeavesTokensOfTwoOriginsToMergingAtOnce) {
  // 4 is "0 1" and "2 3". Before "0" it stays in the first case alone.
  MergeTable two(8);
  two.insert(0, 1, {2, 4});
  two.insert(2, 3, {3, 4});
  two.insert(3, 0, {1, 5});
  MergeTable own(8);  // 4 is "0 1", and stands in the word by itself
  own.insert(0, 1, {2, 4});
  own.insert(1, 3, {1, 5});
  own.insert(4, 3, {3, 6});
  const CounterRng rng(3, "two origins");
  const auto check = [&](const MergeTable& merges, uint64_t letters) {
    Ids symbols;
    for (size_t i = 0; i < 4000; ++i) {
      symbols.push_back(static_cast<int32_t>(rng.below(i, letters)));
    }
    const Ids expected = merged_at_once(merges, symbols);
    LongMerger(merges).run(symbols);
    EXPECT_EQ(symbols, expected);
  };
  check(two, 4);
  check(own, 5);
}

}  // namespace
}  // namespace annuli
