#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "annuli/tokenizer/merge_table.h"

namespace annuli {

// Merges words of any length into what PairMerger makes of them, in time that
// grows with the length alone. A whole document is one word where tokens reach
// across spaces.
//
// A long word is cut into pieces, which are merged one by one. Two neighbours
// that are merged fit together exactly if the last token of one and the first
// token of the other, merged anew from the symbols of both, become the same two
// tokens: whether something merges across the border depends on how these two
// came to be, and on nothing else. Where they do not fit, tokens are taken back
// from the left until they do.
//
// What two tokens do is remembered by their ids. So each token must come from
// one sequence of symbols, as in all real vocabularies; where that is not so,
// PairMerger gets the whole word.
//
// State: 2 MB and the tokens' lengths, made with the first long word.
class LongMerger {
 public:
  static constexpr size_t kShort = 128;  // symbols that PairMerger gets at once

  // A long word is best cut before the symbol `mark`, a space (-1: none).
  explicit LongMerger(const MergeTable& merges, int32_t mark = -1);
  ~LongMerger();
  void run(std::vector<int32_t>& symbols);

 private:
  class Pieces;

  const MergeTable& merges_;
  int32_t mark_;
  PairMerger merger_;
  std::unique_ptr<Pieces> pieces_;
};

}  // namespace annuli
