// Making a BpeModel from its definition: every check on what the files say,
// what the hash covers, and where words may be cut.
#include <fmt/ranges.h>

#include <algorithm>

#include "annuli/core/error.h"
#include "annuli/tokenizer/bpe_model.h"
#include "annuli/tokenizer/byte_alphabet.h"
#include "annuli/tokenizer/token_decoder.h"
#include "annuli/tokenizer/utf8.h"

namespace annuli {
namespace {

constexpr size_t kDirectCharacters = 1 << 16;

std::string_view first_character(std::string_view text) {
  return text.substr(0, utf8_length_at(text, 0));
}

std::string_view last_character(std::string_view text) {
  size_t at = text.size() - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return text.substr(at);
}

}  // namespace

BpeModel::BpeModel(std::string source, const Vocabulary& vocabulary,
                   BpeDefinition definition)
    : source_(std::move(source)),
      definition_(std::move(definition)),
      merges_(definition_.merges.size()),
      joins_(definition_.byte_level ? 0 : 4 * definition_.merges.size()) {
  add_vocabulary(vocabulary);
  add_merges();
  const bool words_are_cut = !definition_.byte_level &&
                             !definition_.ignore_merges &&
                             definition_.continuing_subword_prefix.empty() &&
                             definition_.end_of_word_suffix.empty();
  if (words_are_cut) add_marks();
}

void BpeModel::add_vocabulary(const Vocabulary& vocabulary) {
  spelling_.reserve(vocabulary.size());
  for (const auto& [spelled, id] : vocabulary) {
    if (!spelling_.emplace(spelled, id).second) {
      user_error("reading tokenizer {}: token '{}' is given twice", source_,
                 spelled);
    }
    if (!definition_.ignore_merges) continue;
    const auto word = definition_.byte_level ? bytes_of_spelling(spelled)
                                             : std::optional(spelled);
    if (word) whole_words_[*word] = id;
  }
  for (int byte = 0; byte < 256; ++byte) {
    byte_ids_[byte] = id_of(spell_byte(static_cast<unsigned char>(byte)));
    byte_tokens_[byte] = id_of(token_of_byte(static_cast<unsigned char>(byte)));
  }
  if (definition_.unk_token) unknown_id_ = id_of(*definition_.unk_token);
  if (definition_.byte_level) {
    if (missing_bytes().size() == byte_ids_.size()) {
      user_error(
          "reading tokenizer {}: found no token for any of the 256 bytes, "
          "expected a byte-level vocabulary, as pre_tokenizer ByteLevel says",
          source_);
    }
    return;
  }
  std::vector<int32_t> characters(kDirectCharacters, -1);
  for (const auto& [spelled, id] : vocabulary) {
    if (spelled.empty() || utf8_length_at(spelled, 0) != spelled.size()) {
      continue;
    }
    size_t at = 0;
    const char32_t character = decode_utf8(spelled, at);
    if (character < kDirectCharacters) characters[character] = id;
  }
  character_ids_ = std::move(characters);
}

void BpeModel::add_merges() {
  int32_t rank = 0;
  for (const auto& merge : definition_.merges) {
    const std::string& left = merge.first;
    const std::string& right = merge.second;
    const auto id_of_token = [&](const std::string& token) {
      const auto found = spelling_.find(token);
      if (found == spelling_.end()) {
        user_error(
            "reading tokenizer {}: merge {} ('{}' + '{}') names the token "
            "'{}', which is not in the vocabulary",
            source_, rank, left, right, token);
      }
      return found->second;
    };
    const std::string& prefix = definition_.continuing_subword_prefix;
    if (right.size() < prefix.size()) {
      user_error(
          "reading tokenizer {}: merge {} ('{}' + '{}'), expected the second "
          "to begin with '{}' (continuing_subword_prefix)",
          source_, rank, left, right, prefix);
    }
    const std::string joined = left + right.substr(prefix.size());
    merges_.insert(id_of_token(left), id_of_token(right),
                   {rank, id_of_token(joined)});
    ++rank;
  }
}

bool BpeModel::has_byte_tokens() const {
  return std::all_of(byte_tokens_.begin(), byte_tokens_.end(),
                     [](int32_t id) { return id >= 0; });
}

// The characters at the seam of each merge.
void BpeModel::add_joins() {
  for (const auto& [left, right] : definition_.merges) {
    const int32_t l = id_of(last_character(left));
    const int32_t r = id_of(first_character(right));
    if (l >= 0 && r >= 0) joins_.insert(l, r, {0, 0});
  }
}

// Tokens that merge are made of characters: a merge with a byte token or the
// unknown one, which no real vocabulary has, would not be seen in joins_.
void BpeModel::add_marks() {
  for (const auto& [left, right] : definition_.merges) {
    for (const std::string& token : {left, right}) {
      if (token.empty() || byte_of_token(token) ||
          token == definition_.unk_token) {
        return;
      }
    }
  }
  add_joins();
  may_drop_ = !definition_.unk_token &&
              !(definition_.byte_fallback && has_byte_tokens());
  for (const char* text : {"\xE2\x96\x81", " "}) {
    if (const int32_t id = id_of(text); id >= 0) marks_.push_back({text, id});
  }
}

std::vector<int32_t> BpeModel::missing_bytes() const {
  std::vector<int32_t> missing;
  for (int byte = 0; byte < 256; ++byte) {
    if (byte_ids_[byte] < 0) missing.push_back(byte);
  }
  return missing;
}

std::string BpeModel::kind() const {
  return definition_.byte_level ? "annuli byte-level BPE 1" : "annuli BPE 1";
}

// The merges, by the ids of their tokens.
void BpeModel::describe(const Write& write) const {
  write(std::to_string(definition_.merges.size()));
  for (const auto& [left, right] : definition_.merges) {
    write(std::to_string(spelling_.at(left)));
    write(std::to_string(spelling_.at(right)));
  }
}

// What changes no id (an unknown token where every byte has one of its own) is
// left out.
std::string BpeModel::options() const {
  std::string text;
  const bool complete = definition_.byte_level && missing_bytes().empty();
  const BpeDefinition& d = definition_;
  if (!complete && d.byte_fallback) text += "byte fallback\n";
  if (!complete && d.unk_token) {
    text += fmt::format("unknown {} {}\n", unknown_id_, d.fuse_unk);
  }
  if (!d.continuing_subword_prefix.empty()) {
    text += "prefix " + d.continuing_subword_prefix + "\n";
  }
  if (!d.end_of_word_suffix.empty()) {
    text += "suffix " + d.end_of_word_suffix + "\n";
  }
  return text;
}

std::vector<std::string> BpeModel::notices() const {
  if (!definition_.byte_level) return {};
  const std::vector<int32_t> missing = missing_bytes();
  if (missing.empty()) return {};
  constexpr size_t kNamed = 4;
  const auto named = std::span(missing).first(std::min(kNamed, missing.size()));
  return {fmt::format(
      "tokenizer {}: {} of the 256 bytes have no token ({:#04x}{}); such bytes "
      "{}, "
      "as Python's tokenizers does it",
      source_, missing.size(), fmt::join(named, ", "),
      missing.size() > kNamed ? ", ..." : "",
      definition_.unk_token ? "become '" + *definition_.unk_token + "'"
                            : std::string("are dropped"))};
}

}  // namespace annuli
