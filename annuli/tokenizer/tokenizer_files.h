#pragma once

#include <filesystem>

#include "annuli/tokenizer/bpe_tokenizer.h"

// The two kinds of tokenizer files. What is not understood is refused by a
// UserError that names file and field, never skipped, with these exceptions:
// post_processor, truncation, padding and decoder do not change the ids of
// text and are ignored.
namespace annuli {

// tokenizer.json of the Python `tokenizers` package. Read: model BPE without
// byte fallback, dropout, affixes; normalizer null or NFC; pre-tokenizer
// ByteLevel, or a Sequence of Split (Isolated), Digits and, last, ByteLevel;
// added tokens without lstrip, rstrip, single_word.
BpeDefinition read_tokenizer_json(const std::filesystem::path& path);

// vocab.json + merges.txt in `folder`, as GPT-2 published them: GPT-2's split
// pattern, and `<|endoftext|>`, where the vocabulary has it, special. Refused
// when files beside them say that the tokenizer is another one.
BpeDefinition read_vocab_and_merges(const std::filesystem::path& folder);

}  // namespace annuli
