#include "annuli/tokenizer/tiktoken_file.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "annuli/core/error.h"
#include "annuli/core/file.h"
#include "annuli/tokenizer/base64.h"
#include "annuli/tokenizer/byte_alphabet.h"
#include "annuli/tokenizer/normalizer_steps.h"
#include "annuli/tokenizer/rank_model.h"
#include "annuli/tokenizer/tiktoken_kinds.h"

namespace annuli {
namespace {

using Token = std::pair<std::string, int32_t>;

// "IQ== 0"
std::optional<Token> token_of_line(std::string_view line) {
  const size_t space = line.find(' ');
  if (space == line.npos) return std::nullopt;
  auto bytes = decode_base64(line.substr(0, space));
  int32_t rank = -1;
  const char* end = line.data() + line.size();
  const auto read = std::from_chars(line.data() + space + 1, end, rank);
  if (!bytes || read.ec != std::errc() || read.ptr != end || rank < 0) {
    return std::nullopt;
  }
  return Token(std::move(*bytes), rank);
}

std::string_view take_line(std::string_view& text) {
  const size_t end = std::min(text.find('\n'), text.size());
  std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

const TiktokenKind& kind_of(size_t tokens, const std::string& source) {
  std::vector<std::string> known;
  for (const TiktokenKind& kind : tiktoken_kinds()) {
    if (kind.tokens == tokens) return kind;
    known.push_back(fmt::format("{} ({})", kind.name, kind.tokens));
  }
  user_error(
      "reading tokenizer {}: found {} tokens and no split pattern, which such "
      "a file does not hold, expected one of {}; save a tokenizer.json with "
      "`transformers`",
      source, tokens, fmt::join(known, ", "));
}

}  // namespace

bool looks_like_tiktoken(std::string_view bytes) {
  return token_of_line(take_line(bytes)).has_value();
}

std::vector<std::pair<std::string, int32_t>> tiktoken_tokens(
    std::string_view text, const std::string& source) {
  std::vector<Token> tokens;
  for (size_t number = 1; !text.empty(); ++number) {
    const std::string_view line = take_line(text);
    if (line.empty()) continue;
    auto token = token_of_line(line);
    if (!token) {
      user_error(
          "reading {}, line {}: found no token, expected its bytes in base64, "
          "a space and its rank",
          source, number);
    }
    tokens.push_back(std::move(*token));
  }
  std::stable_sort(
      tokens.begin(), tokens.end(),
      [](const Token& a, const Token& b) { return a.second < b.second; });
  return tokens;
}

TokenizerDefinition read_tiktoken(const std::filesystem::path& path) {
  TokenizerDefinition definition;
  definition.source = path.string();
  std::vector<Token> tokens =
      tiktoken_tokens(read_file(path), definition.source);
  const TiktokenKind& kind = kind_of(tokens.size(), definition.source);
  for (const auto& [bytes, id] : tokens) {
    definition.vocabulary.emplace_back(spell_bytes(bytes), id);
  }
  for (const auto& [content, id] : kind.special) {
    // Matched in the normalized text, as Qwen's own tokenizer does.
    definition.added_tokens.push_back(
        {.content = content, .id = id, .special = true, .normalized = true});
  }
  if (kind.normalize_nfc) {
    definition.normalizer.add(normal_form_step(NormalForm::kNfc));
  }
  definition.pre_tokenizer.add_split(kind.pattern);
  definition.pre_tokenizer.add_byte_alphabet();
  if (kind.begin) definition.begin_ids = {*kind.begin};
  definition.model = std::make_unique<RankModel>(
      definition.source, std::move(tokens),
      fmt::format("{}: split pattern and special tokens are those of {}, which "
                  "has as many tokens ({})",
                  definition.source, kind.name, kind.tokens));
  return definition;
}

}  // namespace annuli
