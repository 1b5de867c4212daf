#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

// Which pairs of tokens merge, how early, and into what: a flat hash table
// with linear probing, read-only after construction.
namespace annuli {

struct Merge {
  int32_t rank;  // lower merges first
  int32_t id;    // the token the pair becomes
};

class MergeTable {
 public:
  explicit MergeTable(size_t merges);

  // A pair given twice keeps the later rank, as in Python.
  void insert(int32_t left, int32_t right, Merge merge);
  // nullptr where the pair does not merge.
  const Merge* find(int32_t left, int32_t right) const;
  // visit(left, right, merge), in no order.
  template <typename Visit>
  void for_each(Visit&& visit) const {
    for (const Slot& slot : slots_) {
      if (slot.pair == kEmpty) continue;
      visit(static_cast<int32_t>(slot.pair >> 32),
            static_cast<int32_t>(slot.pair), slot.merge);
    }
  }

 private:
  struct Slot {
    uint64_t pair = kEmpty;
    Merge merge{};
  };
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  size_t slot_of(uint64_t pair) const;

  int shift_;
  std::vector<Slot> slots_;
};

// Merges `symbols` in place until no pair is left, lowest rank first and
// leftmost among equals: O(n^2) with a small constant up to 32 symbols,
// O(n log n) above.
class PairMerger {
 public:
  explicit PairMerger(const MergeTable& merges) : merges_(merges) {}
  void run(std::vector<int32_t>& symbols);

 private:
  struct Candidate {
    int32_t rank;
    int32_t at;
    int32_t left;  // the pair it was made for: stale if either has changed
    int32_t right;
    int32_t id;
  };
  void run_short(std::vector<int32_t>& symbols);
  void run_long(std::vector<int32_t>& symbols);
  void push(const std::vector<int32_t>& symbols, int32_t at);
  int32_t rank_of(int32_t left, int32_t right) const;

  const MergeTable& merges_;
  std::vector<int32_t> ranks_;
  std::vector<int32_t> next_;
  std::vector<int32_t> previous_;
  std::vector<Candidate> heap_;
};

}  // namespace annuli
