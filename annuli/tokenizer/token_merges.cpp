#include "annuli/tokenizer/token_merges.h"

#include <vector>

namespace annuli {

MergeTable merges_of_tokens(
    std::span<const RankedToken> tokens,
    const std::unordered_map<std::string_view, int32_t>& symbols) {
  struct Pair {
    int32_t left;
    int32_t right;
    Merge merge;
  };
  std::vector<Pair> pairs;
  for (const RankedToken& token : tokens) {
    for (size_t cut = 1; cut < token.text.size(); ++cut) {
      const auto left = symbols.find(token.text.substr(0, cut));
      if (left == symbols.end()) continue;
      const auto right = symbols.find(token.text.substr(cut));
      if (right == symbols.end()) continue;
      pairs.push_back({left->second, right->second, {token.rank, token.id}});
    }
  }
  MergeTable table(pairs.size());
  for (const Pair& pair : pairs)
    table.insert(pair.left, pair.right, pair.merge);
  return table;
}

}  // namespace annuli
