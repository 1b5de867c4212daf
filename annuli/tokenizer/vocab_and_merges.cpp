#include <algorithm>
#include <limits>

#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/core/json.h"
#include "annuli/tokenizer/added_token_files.h"
#include "annuli/tokenizer/bpe_model.h"
#include "annuli/tokenizer/json_fields.h"
#include "annuli/tokenizer/tokenizer_files.h"

namespace annuli {
namespace {

constexpr const char* kEndOfText = "<|endoftext|>";

// The pair carries no split pattern: these files would show that it is not
// GPT-2's.
void refuse_other_tokenizers(const fs::path& folder) {
  const fs::path config = folder / "tokenizer_config.json";
  if (!fs::exists(config)) return;
  const Json json = read_json(config);
  const std::string name =
      json.is_object() ? json.value("tokenizer_class", "GPT2Tokenizer") : "";
  if (!name.starts_with("GPT2Tokenizer")) {
    user_error(
        "reading tokenizer {}: tokenizer_config.json says '{}', expected "
        "GPT2Tokenizer beside vocab.json and merges.txt; save a "
        "tokenizer.json with `transformers`",
        folder.string(), name);
  }
}

// Special in GPT-2, whose files do not say it.
void add_end_of_text(TokenizerDefinition& definition) {
  for (const AddedToken& token : definition.added_tokens) {
    if (token.content == kEndOfText) return;
  }
  for (const auto& [spelled, id] : definition.vocabulary) {
    if (spelled == kEndOfText) {
      definition.added_tokens.push_back({spelled, id, true, false});
    }
  }
}

void read_merges(const fs::path& path, BpeDefinition& definition) {
  const std::string text = read_file(path);
  size_t number = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = std::string_view(text).substr(at, end - at);
    at = end + 1;
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.starts_with("#version")) continue;
    if (line.empty() && at >= text.size()) break;
    definition.merges.push_back(
        merge_of_line(line, fmt::format("{}, line {}", path.string(), number)));
  }
}

}  // namespace

TokenizerDefinition read_vocab_and_merges(const fs::path& folder) {
  refuse_other_tokenizers(folder);
  TokenizerDefinition definition;
  definition.source = folder.string();
  const fs::path vocab = folder / "vocab.json";
  definition.vocabulary = vocabulary_of(read_json(vocab), vocab.string());
  BpeDefinition bpe;
  read_merges(folder / "merges.txt", bpe);
  definition.model = std::make_unique<BpeModel>(
      definition.source, definition.vocabulary, std::move(bpe));
  definition.added_tokens =
      read_added_token_files(folder, definition.vocabulary);
  add_end_of_text(definition);
  definition.pre_tokenizer.add_split(PreTokenizer::kGpt2Pattern);
  definition.pre_tokenizer.add_byte_alphabet();
  return definition;
}

}  // namespace annuli
