// Making a BpeTokenizer from its definition: every check on what the files
// say, and the hash.
#include <algorithm>
#include <array>

#include "annuli/core/error.h"
#include "annuli/core/hash.h"
#include "annuli/tokenizer/bpe_tokenizer.h"
#include "annuli/tokenizer/byte_alphabet.h"
#include "annuli/tokenizer/nfc.h"

namespace annuli {
namespace {

constexpr int32_t kLargestId = (1 << 22) - 1;

// What base models use to separate documents.
constexpr std::array<std::string_view, 3> kEndOfText = {
    "<|endoftext|>", "<|end_of_text|>", "</s>"};

template <typename Map>
std::optional<int32_t> value_of(const Map& map, std::string_view key) {
  const auto found = map.find(typename Map::key_type(key));
  if (found == map.end()) return std::nullopt;
  return found->second;
}

}  // namespace

void BpeTokenizer::build(BpeDefinition definition) {
  const Spelling spelling = add_vocabulary(definition);
  add_merges(definition, spelling);
  add_added_tokens(definition, spelling);
  for (int32_t id = 0; id < vocab_size(); ++id) {
    if (!tokens_[id].empty()) ids_.try_emplace(tokens_[id], id);
  }
  for (const AddedToken& token : definition.added_tokens) {
    ids_[tokens_[token.id]] = token.id;
  }
  if (definition.ignore_merges) {
    for (const auto& [spelled, id] : definition.vocabulary) {
      if (bytes_of_spelling(spelled)) whole_words_[tokens_[id]] = id;
    }
  }
  find_end_of_text(definition);
  hash_ = hash_of(definition, spelling);
  pre_tokenizer_ = std::move(definition.pre_tokenizer);
}

void BpeTokenizer::add_token(int32_t id, std::string bytes,
                             const std::string& spelled) {
  if (id < 0 || id > kLargestId) {
    user_error("reading tokenizer {}: token '{}' has id {}, expected 0 to {}",
               name_, spelled, id, kLargestId);
  }
  if (bytes.empty()) {
    user_error("reading tokenizer {}: id {} is an empty token", name_, id);
  }
  if (id >= vocab_size()) tokens_.resize(id + 1);
  if (!tokens_[id].empty()) {
    user_error("reading tokenizer {}: id {} is given twice, second to '{}'",
               name_, id, spelled);
  }
  tokens_[id] = std::move(bytes);
}

// Tokens with characters outside the byte alphabet (special tokens written
// into the vocabulary) stand for their own text.
BpeTokenizer::Spelling BpeTokenizer::add_vocabulary(
    const BpeDefinition& definition) {
  Spelling spelling;
  spelling.reserve(definition.vocabulary.size());
  for (const auto& [spelled, id] : definition.vocabulary) {
    add_token(id, bytes_of_spelling(spelled).value_or(spelled), spelled);
    if (!spelling.emplace(spelled, id).second) {
      user_error("reading tokenizer {}: token '{}' is given twice", name_,
                 spelled);
    }
  }
  for (int byte = 0; byte < 256; ++byte) {
    const std::string spelled = spell_byte(static_cast<unsigned char>(byte));
    const auto id = value_of(spelling, spelled);
    if (!id) {
      user_error(
          "reading tokenizer {}: no token '{}' for byte 0x{:02x}, expected "
          "one for each of the 256 bytes (byte-level BPE)",
          name_, spelled, byte);
    }
    byte_ids_.push_back(*id);
  }
  return spelling;
}

void BpeTokenizer::add_merges(const BpeDefinition& definition,
                              const Spelling& spelling) {
  int32_t rank = 0;
  for (const auto& merge : definition.merges) {
    const std::string& left = merge.first;
    const std::string& right = merge.second;
    const auto id_of = [&](const std::string& token) {
      const auto id = value_of(spelling, token);
      if (!id) {
        user_error(
            "reading tokenizer {}: merge {} ('{}' + '{}') names the token "
            "'{}', which is not in the vocabulary",
            name_, rank, left, right, token);
      }
      return *id;
    };
    merges_.insert(id_of(left), id_of(right), {rank, id_of(left + right)});
    ++rank;
  }
}

void BpeTokenizer::add_added_tokens(const BpeDefinition& definition,
                                    const Spelling& spelling) {
  std::vector<AddedToken> before;
  std::vector<AddedToken> after;
  std::unordered_map<std::string, int32_t> seen;
  for (const AddedToken& token : definition.added_tokens) {
    if (!seen.emplace(token.content, token.id).second) {
      user_error("reading tokenizer {}: added token '{}' is given twice", name_,
                 token.content);
    }
    if (const auto known = value_of(spelling, token.content)) {
      if (*known != token.id) {
        user_error(
            "reading tokenizer {}: added token '{}' has id {}, but {} in the "
            "vocabulary",
            name_, token.content, token.id, *known);
      }
      if (tokens_[token.id] != token.content) {
        user_error(
            "reading tokenizer {}: added token '{}' is also the spelling of "
            "other bytes in the vocabulary",
            name_, token.content);
      }
    } else {
      add_token(token.id, token.content, token.content);
    }
    (token.normalized ? after : before).push_back(token);
    if (token.normalized && normalize_nfc_) {
      after.back().content = to_nfc(token.content);
    }
  }
  added_ = AddedTokenMatcher(before);
  added_normalized_ = AddedTokenMatcher(after);
}

void BpeTokenizer::find_end_of_text(const BpeDefinition& definition) {
  for (std::string_view name : kEndOfText) {
    for (const AddedToken& token : definition.added_tokens) {
      if (token.content == name) {
        end_of_text_ = token.id;
        return;
      }
    }
  }
}

// Sizes stand before contents, so that no two definitions write the same
// bytes. Whether added tokens are matched before or after normalization counts
// only where both kinds exist or something is normalized.
std::string BpeTokenizer::hash_of(const BpeDefinition& definition,
                                  const Spelling& spelling) const {
  Sha256 sha;
  const auto write = [&](std::string_view text) {
    sha.update(std::to_string(text.size()) + ":");
    sha.update(text);
  };
  write("annuli byte-level BPE 1");
  write(std::to_string(tokens_.size()));
  for (const std::string& token : tokens_) write(token);
  write(std::to_string(definition.merges.size()));
  for (const auto& [left, right] : definition.merges) {
    write(std::to_string(spelling.at(left)));
    write(std::to_string(spelling.at(right)));
  }
  std::vector<AddedToken> added = definition.added_tokens;
  std::sort(added.begin(), added.end(),
            [](const auto& a, const auto& b) { return a.id < b.id; });
  const bool order_counts =
      normalize_nfc_ || (!added_.empty() && !added_normalized_.empty());
  for (const AddedToken& token : added) {
    write(fmt::format("added {} {} {}", token.id, token.special,
                      order_counts && token.normalized));
  }
  write(definition.pre_tokenizer.description());
  write(fmt::format("nfc {} whole words {}", normalize_nfc_,
                    definition.ignore_merges));
  return sha.hex();
}

}  // namespace annuli
