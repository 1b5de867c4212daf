#pragma once

#include <filesystem>
#include <string_view>

#include "annuli/tokenizer/pipeline_tokenizer.h"

namespace annuli {

// Whether a file begins as a .tiktoken does: a line of base64, a space and a
// number. (Llama 3's own tokenizer.model is one.)
bool looks_like_tiktoken(std::string_view bytes);

// A .tiktoken file: one token a line, in base64, and its rank, which is its id.
// It holds neither the split pattern nor the special tokens: those of the known
// vocabularies (Qwen, Qwen 3.5, Llama 3, r50k, p50k, cl100k, o200k) are taken
// by the number of tokens, and a notice says which. Any other number is
// refused (UserError), and so is a malformed line.
TokenizerDefinition read_tiktoken(const std::filesystem::path& path);

}  // namespace annuli
