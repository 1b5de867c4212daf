#pragma once

#include <filesystem>

#include "annuli/core/json.h"
#include "annuli/tokenizer/pipeline_tokenizer.h"

// The kinds of tokenizer files. What is not understood is refused by a
// UserError that names file and field, never skipped, with one exception:
// truncation and padding do not change the ids of text and are ignored.
namespace annuli {

// tokenizer.json of the Python `tokenizers` package: the models BPE
// without dropout and Unigram, and the parts that tokenizer_parts.h lists.
TokenizerDefinition read_tokenizer_json(const std::filesystem::path& path);
// What it holds; `source` is the file, for messages.
TokenizerDefinition tokenizer_from_json(const Json& json,
                                        const std::string& source);

// vocab.json + merges.txt in `folder`, as GPT-2 published them: GPT-2's split
// pattern, and `<|endoftext|>`, where the vocabulary has it, special. Added
// tokens are read from the files beside them (added_token_files.h). Refused
// when tokenizer_config.json says that the tokenizer is another one.
TokenizerDefinition read_vocab_and_merges(const std::filesystem::path& folder);

}  // namespace annuli
