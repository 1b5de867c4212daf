#pragma once

#include <memory>
#include <string>

#include "annuli/checkpoint/model_file.h"
#include "annuli/tokenizer/document_borders.h"
#include "annuli/tokenizer/tokenizer.h"

// The tokenizer that belongs to a model on disk.
namespace annuli::cli {

// `asked` if it is not empty; else what the model says of itself: the entry
// "tokenizer" {name, hash, vocab_size} of a .pt file, the tokenizer files in a
// model folder, or what a GGUF file has. UserErrors: nothing says which, the
// model was trained with another one than `asked` (by hash), or it has ids that
// the model lacks.
std::unique_ptr<Tokenizer> tokenizer_of(const ModelFile& model,
                                        const std::string& asked);

// What stands around documents and prompts of a model with this tokenizer: as
// `asked`, else as the plan that a .pt file was trained by said, else as the
// files of the model's folder or beside the tokenizer say.
DocumentBorders borders_of(const ModelFile& model, const Tokenizer& tokenizer,
                           const BorderChoice& asked);

// The hash that the model says its tokenizer has, or "".
std::string tokenizer_hash_of(const ModelFile& model);

}  // namespace annuli::cli
