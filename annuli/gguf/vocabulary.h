#pragma once

#include <cstdint>
#include <filesystem>

#include "annuli/core/gguf_writer.h"
#include "annuli/tokenizer/tokenizer.h"

namespace annuli::gguf {

// Adds a tokenizer in llama.cpp's words, so that it gives the ids that
// `tokenizer` does: byte-level BPE ("gpt2", with merges) of the split patterns
// that llama.cpp knows, and SentencePiece's BPE ("llama", with scores), also
// where a tokenizer.json holds it; `bytes` is a BPE without merges. What of a
// normalizer (Qwen's NFC) llama.cpp leaves out is left out here too.
//
// `rows`: of the embedding; those without a token are unused ones.
// `model_folder`: where the model's own files name its special tokens and its
// chat template; empty: beside the tokenizer.
// UserError for kinds that llama.cpp reads otherwise: Unigram, unknown
// patterns, files without merges (tiktoken, tekken).
void add_vocabulary(const Tokenizer& tokenizer, int64_t rows,
                    const std::filesystem::path& model_folder, Writer& writer);

}  // namespace annuli::gguf
