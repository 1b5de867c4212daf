#include "annuli/tokenizer/long_merger.h"

#include <algorithm>
#include <span>

namespace annuli {
namespace {

// The symbols of a piece. PairMerger has a heap for more than 32.
constexpr size_t kLeast = 20;
constexpr size_t kMost = 32;
constexpr size_t kPairs = size_t{1} << 18;
constexpr uint64_t kMix = 0x9E3779B97F4A7C15ull;
constexpr uint64_t kFits = uint64_t{1} << 63;
constexpr uint64_t kNoPair = ~uint64_t{0};

// How many symbols each token is made of, if each comes from one sequence.
class TokenLengths {
 public:
  explicit TokenLengths(const MergeTable& merges) {
    merges.for_each([&](int32_t left, int32_t right, const Merge& merge) {
      pairs_.push_back({left, right, merge});
      const int32_t most = std::max({left, right, merge.id});
      if (tokens_.size() <= static_cast<size_t>(most)) tokens_.resize(most + 1);
      tokens_[merge.id].merged = true;
    });
    std::ranges::sort(pairs_, {}, [](const Pair& p) { return p.merge.rank; });
    for (size_t id = 0; id < tokens_.size(); ++id) {
      if (!tokens_[id].merged) tokens_[id] = {1, hash_of(id), kMix, false};
    }
    while (one_way_ && !pairs_.empty() && take_known()) {
    }
    one_way_ = one_way_ && pairs_.empty();
  }

  bool one_way() const { return one_way_; }
  std::vector<uint32_t> lengths() const {
    std::vector<uint32_t> lengths;
    for (const Token& token : tokens_) lengths.push_back(token.length);
    return lengths;
  }

 private:
  struct Pair {
    int32_t left;
    int32_t right;
    Merge merge;
  };
  struct Token {
    uint32_t length = 0;  // 0: not known yet
    uint64_t hash = 0;    // of its symbols, a polynomial in kMix
    uint64_t power = 0;   // kMix to its length
    bool merged = false;  // some pair becomes it
  };

  static uint64_t hash_of(uint64_t id) {
    const uint64_t mixed = (id + 1) * kMix;
    return mixed ^ (mixed >> 29);
  }

  // The pairs whose tokens are both known; false if there were none.
  bool take_known() {
    const size_t before = pairs_.size();
    std::erase_if(pairs_, [&](const Pair& pair) {
      const Token& left = tokens_[pair.left];
      const Token& right = tokens_[pair.right];
      if (left.length == 0 || right.length == 0) return false;
      const Token joined = {left.length + right.length,
                            left.hash * right.power + right.hash,
                            left.power * right.power, true};
      Token& token = tokens_[pair.merge.id];
      if (token.length == 0) token = joined;
      one_way_ &= token.length == joined.length && token.hash == joined.hash;
      return true;
    });
    return pairs_.size() < before;
  }

  std::vector<Pair> pairs_;
  std::vector<Token> tokens_;  // by id
  bool one_way_ = true;
};

}  // namespace

class LongMerger::Pieces {
 public:
  Pieces(const MergeTable& merges, int32_t mark)
      : mark_(mark), merger_(merges), fits_(kPairs, kNoPair) {
    const TokenLengths tokens(merges);
    one_way_ = tokens.one_way();
    lengths_ = tokens.lengths();
  }

  // Whether no symbol is something that others merge into.
  bool can_cut(std::span<const int32_t> symbols) const {
    return one_way_ && std::ranges::all_of(symbols, [&](int32_t symbol) {
             return length_of(symbol) == 1;
           });
  }

  void run(std::vector<int32_t>& symbols) {
    symbols_ = symbols;
    tokens_.clear();
    for (size_t at = 0; at < symbols.size();) {
      const size_t end = piece_end(at);
      append(at, end);
      at = end;
    }
    for (size_t i = 0; i < tokens_.size(); ++i) symbols[i] = tokens_[i].id;
    symbols.resize(tokens_.size());
  }

 private:
  struct Token {
    int32_t id;
    size_t begin;  // its first symbol
  };

  size_t length_of(int32_t id) const {
    return static_cast<size_t>(id) < lengths_.size() ? lengths_[id] : 1;
  }

  size_t piece_end(size_t begin) const {
    const size_t most = std::min(begin + kMost, symbols_.size());
    size_t end = std::min(begin + kLeast, most);
    while (end < most && symbols_[end] != mark_) ++end;
    return end;
  }

  // Twice as many tokens are taken back each time: a border that few of them
  // cannot mend is rare, and must not cost a square of what it takes.
  void append(size_t begin, size_t end) {
    for (size_t back = 1;; back *= 2) {
      merged_.assign(symbols_.data() + begin, symbols_.data() + end);
      merger_.run(merged_);
      if (tokens_.empty() || fit(tokens_.back(), {merged_.front(), begin})) {
        break;
      }
      const size_t kept = tokens_.size() - std::min(back, tokens_.size());
      begin = tokens_[kept].begin;
      tokens_.resize(kept);
    }
    for (const int32_t id : merged_) {
      tokens_.push_back({id, begin});
      begin += length_of(id);
    }
  }

  bool fit(Token left, Token right) {
    const uint64_t pair = uint64_t{static_cast<uint32_t>(left.id)} << 32 |
                          static_cast<uint32_t>(right.id);
    uint64_t& known = fits_[pair * kMix >> 46];
    if ((known & ~kFits) != pair) {
      const size_t size = right.begin + length_of(right.id) - left.begin;
      const auto both = symbols_.subspan(left.begin, size);
      pair_.assign(both.begin(), both.end());
      merger_.run(pair_);
      const bool same = pair_ == std::vector<int32_t>{left.id, right.id};
      known = pair | (same ? kFits : 0);
    }
    return (known & kFits) != 0;
  }

  int32_t mark_;
  PairMerger merger_;
  bool one_way_ = false;
  std::vector<uint32_t> lengths_;  // by id
  std::vector<uint64_t> fits_;     // pairs of ids, and whether they fit
  std::span<const int32_t> symbols_;
  std::vector<Token> tokens_;
  std::vector<int32_t> merged_;
  std::vector<int32_t> pair_;
};

LongMerger::LongMerger(const MergeTable& merges, int32_t mark)
    : merges_(merges), mark_(mark), merger_(merges) {}

LongMerger::~LongMerger() = default;

void LongMerger::run(std::vector<int32_t>& symbols) {
  if (symbols.size() <= kShort) return merger_.run(symbols);
  if (!pieces_) pieces_ = std::make_unique<Pieces>(merges_, mark_);
  if (!pieces_->can_cut(symbols)) return merger_.run(symbols);
  pieces_->run(symbols);
}

}  // namespace annuli
