#include "annuli/tokenizer/merge_table.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace annuli {
namespace {

constexpr size_t kShort = 32;
constexpr int32_t kNever = std::numeric_limits<int32_t>::max();
constexpr int32_t kGone = -1;

uint64_t pair_of(int32_t left, int32_t right) {
  return (uint64_t{static_cast<uint32_t>(left)} << 32) |
         static_cast<uint32_t>(right);
}

}  // namespace

MergeTable::MergeTable(size_t merges) {
  const size_t slots = std::bit_ceil(merges * 2 + 2);
  shift_ = 64 - std::countr_zero(slots);
  slots_.resize(slots);
}

size_t MergeTable::slot_of(uint64_t pair) const {
  // Fibonacci hashing: the high bits of a product with 2^64 / golden ratio.
  size_t at = (pair * 0x9E3779B97F4A7C15ull) >> shift_;
  while (slots_[at].pair != pair && slots_[at].pair != kEmpty) {
    at = (at + 1) & (slots_.size() - 1);
  }
  return at;
}

void MergeTable::insert(int32_t left, int32_t right, Merge merge) {
  const uint64_t pair = pair_of(left, right);
  slots_[slot_of(pair)] = {pair, merge};
}

const Merge* MergeTable::find(int32_t left, int32_t right) const {
  const Slot& slot = slots_[slot_of(pair_of(left, right))];
  return slot.pair == kEmpty ? nullptr : &slot.merge;
}

int32_t PairMerger::rank_of(int32_t left, int32_t right) const {
  const Merge* merge = merges_.find(left, right);
  return merge == nullptr ? kNever : merge->rank;
}

void PairMerger::run(std::vector<int32_t>& symbols) {
  if (symbols.size() < 2) return;
  if (symbols.size() <= kShort) {
    run_short(symbols);
  } else {
    run_long(symbols);
  }
}

void PairMerger::run_short(std::vector<int32_t>& symbols) {
  ranks_.resize(symbols.size() - 1);
  for (size_t i = 0; i + 1 < symbols.size(); ++i) {
    ranks_[i] = rank_of(symbols[i], symbols[i + 1]);
  }
  while (!ranks_.empty()) {
    const auto best = std::min_element(ranks_.begin(), ranks_.end());
    if (*best == kNever) break;
    const auto at = best - ranks_.begin();
    symbols[at] = merges_.find(symbols[at], symbols[at + 1])->id;
    symbols.erase(symbols.begin() + at + 1);
    ranks_.erase(best);
    if (at > 0) ranks_[at - 1] = rank_of(symbols[at - 1], symbols[at]);
    if (at < std::ssize(ranks_)) {
      ranks_[at] = rank_of(symbols[at], symbols[at + 1]);
    }
  }
}

void PairMerger::push(const std::vector<int32_t>& symbols, int32_t at) {
  const int32_t right = next_[at];
  if (right >= static_cast<int32_t>(symbols.size())) return;
  const Merge* merge = merges_.find(symbols[at], symbols[right]);
  if (merge == nullptr) return;
  heap_.push_back({merge->rank, at, symbols[at], symbols[right], merge->id});
}

// A linked list of symbols and a heap of candidate merges. A candidate whose
// pair has changed since it was pushed is dropped when it comes up.
void PairMerger::run_long(std::vector<int32_t>& symbols) {
  const auto later = [](const Candidate& a, const Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.at > b.at;
  };
  const auto size = static_cast<int32_t>(symbols.size());
  next_.resize(size);
  previous_.resize(size);
  heap_.clear();
  for (int32_t i = 0; i < size; ++i) {
    next_[i] = i + 1;
    previous_[i] = i - 1;
    push(symbols, i);
  }
  std::make_heap(heap_.begin(), heap_.end(), later);
  const auto push_at = [&](int32_t at) {
    const size_t before = heap_.size();
    push(symbols, at);
    if (heap_.size() > before)
      std::push_heap(heap_.begin(), heap_.end(), later);
  };
  while (!heap_.empty()) {
    const Candidate best = heap_.front();
    std::pop_heap(heap_.begin(), heap_.end(), later);
    heap_.pop_back();
    const int32_t right = next_[best.at];
    if (symbols[best.at] != best.left || right >= size ||
        symbols[right] != best.right) {
      continue;
    }
    symbols[best.at] = best.id;
    symbols[right] = kGone;
    next_[best.at] = next_[right];
    if (next_[right] < size) previous_[next_[right]] = best.at;
    if (previous_[best.at] >= 0) push_at(previous_[best.at]);
    push_at(best.at);
  }
  std::erase(symbols, kGone);
}

}  // namespace annuli
