#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <unordered_map>

#include "annuli/tokenizer/merge_table.h"

// Merges that are written nowhere. tiktoken and SentencePiece join any two
// neighbours whose text together is a token, as early as that token stands in
// the vocabulary. So each token has a merge for every way to cut it in two
// symbols, all of one rank: at one rank the leftmost pair merges first, as
// theirs do.
namespace annuli {

struct RankedToken {
  std::string_view text;
  int32_t rank = 0;  // lower merges first
  int32_t id = 0;
};

// `symbols`: what can stand in a word while it is merged, by its text.
MergeTable merges_of_tokens(
    std::span<const RankedToken> tokens,
    const std::unordered_map<std::string_view, int32_t>& symbols);

}  // namespace annuli
