#pragma once

#include <memory>
#include <string>
#include <vector>

#include "annuli/core/file.h"
#include "annuli/tokenizer/pipeline_tokenizer.h"
#include "annuli/tokenizer/sentencepiece_file.h"
#include "annuli/tokenizer/special_token_files.h"
#include "annuli/tokenizer/tokenizer.h"

// The tokenizer in a GGUF file of llama.cpp, taken back from its tokens, merges
// or scores, and types: byte-level BPE ("gpt2") of the splits that
// llama_cpp_splits.h knows, and SentencePiece's BPE ("llama").
//
// A file of ours says the hash of the tokenizer that it was made with, where
// that is of the same kind; one that does not come back as that (a normalizer,
// flags of added tokens: what llama.cpp has no place for) is refused. Qwen's
// NFC is put back.
//
// UserError, one line, for other kinds, for what is damaged, and where there is
// none: it says to give one with --tokenizer.
namespace annuli {

// Where a file of ours says that hash.
inline constexpr std::string_view kGgufTokenizerHash = "annuli.tokenizer_hash";

std::unique_ptr<Tokenizer> read_gguf_tokenizer(const fs::path& path);

// What it is made of: of byte-level BPE, and of SentencePiece's.
TokenizerDefinition read_gguf_definition(const fs::path& path);
SentencePieceModel read_gguf_sentencepiece(const fs::path& path);

// The tokens that begin and end a text; the template, "" if there is none.
SpecialTokenFiles read_gguf_special_tokens(const fs::path& path);
std::string read_gguf_chat_template(const fs::path& path);

struct NamedText {
  std::string name;  // of a file
  std::string text;
};

// The files that a model's folder has of it: tokenizer.json or tokenizer.model,
// and tokenizer_config.json with special tokens and the chat template.
std::vector<NamedText> gguf_tokenizer_files(const fs::path& path);

}  // namespace annuli
