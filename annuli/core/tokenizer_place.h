#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

// Which file of a folder is its tokenizer. Folders that know no tokenizer ask
// too: a model that has one brings it along.
namespace annuli {

// What is looked for, in this order: tokenizer.json; a SentencePiece model
// (tokenizer.model, spiece.model, sentencepiece.bpe.model, or the youngest
// tokenizer.model.v*); tekken.json or tekken_*.json; a .tiktoken; vocab.json
// with merges.txt, for which the folder itself is the answer. Several files of
// one kind: the last by name.
std::optional<std::filesystem::path> tokenizer_in(
    const std::filesystem::path& folder);

// What the sentence "found no tokenizer, expected ..." lists.
std::string tokenizer_kinds();

}  // namespace annuli
