#include "annuli/tokenizer/merge_table.h"

#include <gtest/gtest.h>

#include "annuli/core/rng.h"

namespace annuli {
namespace {

constexpr int32_t kAtoms = 3;

// Random merges of random earlier tokens: many ways to go wrong in order.
struct RandomMerges {
  MergeTable table{200};

  explicit RandomMerges(uint64_t seed) {
    const CounterRng rng(seed, "merge_table_test");
    uint64_t draw = 0;
    for (int32_t rank = 0; rank < 200; ++rank) {
      const int32_t known = kAtoms + rank;
      const auto left = static_cast<int32_t>(rng.below(draw++, known));
      const auto right = static_cast<int32_t>(rng.below(draw++, known));
      if (table.find(left, right) == nullptr) {
        table.insert(left, right, {rank, known});
      }
    }
  }
};

// The definition, word for word.
std::vector<int32_t> merged_plainly(const MergeTable& table,
                                    std::vector<int32_t> symbols) {
  while (true) {
    const Merge* best = nullptr;
    int64_t at = 0;
    for (int64_t i = 0; i + 1 < std::ssize(symbols); ++i) {
      const Merge* merge = table.find(symbols[i], symbols[i + 1]);
      if (merge != nullptr && (best == nullptr || merge->rank < best->rank)) {
        best = merge;
        at = i;
      }
    }
    if (best == nullptr) return symbols;
    symbols[at] = best->id;
    symbols.erase(symbols.begin() + at + 1);
  }
}

TEST(PairMerger, EqualsTheDefinitionAtEveryLength) {
  int merged = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const RandomMerges merges(seed);
    PairMerger merger(merges.table);
    const CounterRng rng(seed, "symbols");
    for (size_t length = 0; length < 120; ++length) {
      std::vector<int32_t> symbols;
      for (size_t i = 0; i < length; ++i) {
        symbols.push_back(
            static_cast<int32_t>(rng.below(length * 1000 + i, kAtoms)));
      }
      const auto expected = merged_plainly(merges.table, symbols);
      merger.run(symbols);
      EXPECT_EQ(symbols, expected) << "seed " << seed << " length " << length;
      merged += static_cast<int>(length - symbols.size());
    }
  }
  EXPECT_GT(merged, 10000);  // the inputs did exercise it
}

TEST(MergeTable, LaterRankOfAPairCounts) {
  MergeTable table(2);
  EXPECT_EQ(table.find(1, 2), nullptr);
  table.insert(1, 2, {0, 7});
  table.insert(1, 2, {5, 7});
  EXPECT_EQ(table.find(1, 2)->rank, 5);
  EXPECT_EQ(table.find(2, 1), nullptr);
}

}  // namespace
}  // namespace annuli
