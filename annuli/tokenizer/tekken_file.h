#pragma once

#include <filesystem>

#include "annuli/tokenizer/pipeline_tokenizer.h"

namespace annuli {

// Mistral's tekken.json: the special tokens have the first ids, the tokens by
// rank those after them, as many as default_vocab_size leaves room for. As in
// Mistral's own reader special tokens are never found in text. Refuses
// (UserError) what is malformed or contradicts itself.
TokenizerDefinition read_tekken(const std::filesystem::path& path);

}  // namespace annuli
