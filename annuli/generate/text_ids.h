#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "annuli/tokenizer/tokenizer.h"

// Between text and the ids that a model continues.
namespace annuli {

// The ids of a model's vocabulary that have no token: rows that only pad it,
// and holes. They are never drawn (GenerateOptions::never_ids).
std::vector<int32_t> ids_without_token(const Tokenizer& tokenizer,
                                       int64_t vocab_size);

// A text to continue, after the tokens that stand before a text
// (DocumentBorders::begin), unless it spells them itself.
std::vector<int32_t> prompt_ids(std::string_view text,
                                const Tokenizer& tokenizer,
                                std::span<const int32_t> begin);

}  // namespace annuli
