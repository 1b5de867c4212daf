#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "annuli/tokenizer/pipeline_tokenizer.h"

namespace annuli {

// Whether a file begins as a .tiktoken does: a line of base64, a space and a
// number. (Llama 3's own tokenizer.model is one.)
bool looks_like_tiktoken(std::string_view bytes);

// The tokens of such a file and their ranks, in the order of these. Refuses
// (UserError) a malformed line.
std::vector<std::pair<std::string, int32_t>> tiktoken_tokens(
    std::string_view text, const std::string& source);

// A .tiktoken file: one token a line, in base64, and its rank, which is its id.
// It holds neither the split pattern nor the special tokens: those of the known
// vocabularies (Qwen, Qwen 3.5, Llama 3, r50k, p50k, cl100k, o200k) are taken
// by the number of tokens, and a notice says which. Any other number is
// refused (UserError).
TokenizerDefinition read_tiktoken(const std::filesystem::path& path);

}  // namespace annuli
