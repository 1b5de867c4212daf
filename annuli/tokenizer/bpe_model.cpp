#include "annuli/tokenizer/bpe_model.h"

#include <algorithm>
#include <utility>

#include "annuli/core/error.h"
#include "annuli/tokenizer/byte_alphabet.h"
#include "annuli/tokenizer/long_merger.h"
#include "annuli/tokenizer/utf8.h"
#include "annuli/tokenizer/word_cache.h"

namespace annuli {
namespace {

constexpr size_t kLongestUncut = 32;  // symbols that PairMerger has no heap for

}  // namespace

struct BpeModel::Scratch final : TokenModel::Workspace {
  Scratch(const MergeTable& merges, int32_t mark) : merger(merges, mark) {}

  WordCache cache;
  LongMerger merger;
  std::vector<int32_t> symbols;
  std::vector<int32_t> part;
};

// Unknown characters that have not become a token yet: the token waits for the
// next character that is known.
struct BpeModel::Unknown {
  bool waiting = false;
};

std::unique_ptr<TokenModel::Workspace> BpeModel::make_workspace() const {
  const int32_t mark = !marks_.empty()          ? marks_.front().id
                       : definition_.byte_level ? byte_ids_[' ']
                                                : -1;
  return std::make_unique<Scratch>(merges_, mark);
}

void BpeModel::append_ids(std::string_view word, Workspace& workspace,
                          std::vector<int32_t>& ids) const {
  auto& scratch = static_cast<Scratch&>(workspace);
  if (marks_.empty()) return append_word(word, scratch, ids);
  for (size_t at = 0; at < word.size();) {
    const size_t end = piece_end(word, at);
    append_word(word.substr(at, end - at), scratch, ids);
    at = end;
  }
}

void BpeModel::append_word(std::string_view word, Scratch& scratch,
                           std::vector<int32_t>& ids) const {
  // A word that loses bytes is counted each time.
  scratch.cache.append(word, source_, scratch.symbols, ids, [&] {
    const int64_t dropped = scratch.dropped_bytes;
    merge_word(word, scratch);
    return scratch.dropped_bytes == dropped;
  });
}

// Leaves the ids in scratch.symbols.
void BpeModel::merge_word(std::string_view word, Scratch& scratch) const {
  std::vector<int32_t>& symbols = scratch.symbols;
  if (!whole_words_.empty()) {
    const auto whole = whole_words_.find(word);
    if (whole != whole_words_.end()) return symbols.assign(1, whole->second);
  }
  if (!definition_.byte_level || !add_bytes(word, symbols)) {
    symbols.clear();
    scratch.dropped_bytes += add_characters(word, symbols);
  }
  merge(scratch);
}

// False where a byte has no token, or where tokens depend on their place.
bool BpeModel::add_bytes(std::string_view word,
                         std::vector<int32_t>& symbols) const {
  for (unsigned char byte : word) {
    if (byte_ids_[byte] < 0) return false;
    symbols.push_back(byte_ids_[byte]);
  }
  return definition_.continuing_subword_prefix.empty() &&
         definition_.end_of_word_suffix.empty();
}

// Returns how many bytes were left out.
int64_t BpeModel::add_characters(std::string_view word,
                                 std::vector<int32_t>& symbols) const {
  Unknown unknown;
  int64_t dropped = 0;
  for (size_t at = 0; at < word.size();) {
    const size_t begin = at;
    at += definition_.byte_level ? 1 : utf8_length_at(word, at);
    std::string spelled(
        definition_.byte_level
            ? spell_byte(static_cast<unsigned char>(word[begin]))
            : word.substr(begin, at - begin));
    if (begin > 0) {
      spelled.insert(0, definition_.continuing_subword_prefix);
    }
    if (at == word.size()) spelled += definition_.end_of_word_suffix;
    dropped += add_character(spelled, at - begin, unknown, symbols);
  }
  if (unknown.waiting) symbols.push_back(unknown_id());
  return dropped;
}

int64_t BpeModel::add_character(std::string_view spelled, size_t bytes,
                                Unknown& unknown,
                                std::vector<int32_t>& symbols) const {
  if (const int32_t id = id_of(spelled); id >= 0) {
    if (std::exchange(unknown.waiting, false)) symbols.push_back(unknown_id());
    symbols.push_back(id);
    return 0;
  }
  if (add_byte_tokens(spelled, symbols)) return 0;
  if (!definition_.unk_token) return static_cast<int64_t>(bytes);
  if (unknown.waiting && !definition_.fuse_unk) symbols.push_back(unknown_id());
  unknown.waiting = true;
  return 0;
}

// All of them or none.
bool BpeModel::add_byte_tokens(std::string_view bytes,
                               std::vector<int32_t>& symbols) const {
  if (!definition_.byte_fallback) return false;
  for (unsigned char byte : bytes) {
    if (byte_tokens_[byte] < 0) return false;
  }
  for (unsigned char byte : bytes) symbols.push_back(byte_tokens_[byte]);
  return true;
}

void BpeModel::append_invalid(std::string_view bytes, Workspace& workspace,
                              std::vector<int32_t>& ids) const {
  bool unknown = false;
  for (const char& byte : bytes) {
    if (add_byte_tokens({&byte, 1}, ids)) continue;
    if (!definition_.unk_token) {
      ++workspace.dropped_bytes;
    } else if (!unknown || !definition_.fuse_unk) {
      ids.push_back(unknown_id());
      unknown = true;
    }
  }
}

// Long words are merged part by part, cut where no merge reaches across.
void BpeModel::merge(Scratch& scratch) const {
  std::vector<int32_t>& symbols = scratch.symbols;
  if (marks_.empty() || symbols.size() <= kLongestUncut) {
    return scratch.merger.run(symbols);
  }
  size_t out = 0;
  for (size_t begin = 0; begin < symbols.size();) {
    size_t end = begin + 1;
    while (end < symbols.size() &&
           joins_.find(symbols[end - 1], symbols[end]) != nullptr) {
      ++end;
    }
    scratch.part.assign(symbols.begin() + begin, symbols.begin() + end);
    scratch.merger.run(scratch.part);
    std::copy(scratch.part.begin(), scratch.part.end(), symbols.begin() + out);
    out += scratch.part.size();
    begin = end;
  }
  symbols.resize(out);
}

// The end of the piece that starts at `begin`: before a mark that nothing
// merges with from its left.
size_t BpeModel::piece_end(std::string_view word, size_t begin) const {
  for (size_t at = begin + 1; at < word.size(); ++at) {
    if (word[at] != ' ' && word[at] != '\xE2') continue;
    for (const Mark& mark : marks_) {
      if (word.substr(at).starts_with(mark.text) && cuts_at(word, at, mark)) {
        return at;
      }
    }
  }
  return word.size();
}

bool BpeModel::cuts_at(std::string_view word, size_t at,
                       const Mark& mark) const {
  size_t before = at - 1;
  while ((static_cast<unsigned char>(word[before]) & 0xC0) == 0x80) --before;
  const int32_t id = id_of(word.substr(before, at - before));
  if (id < 0) return !may_drop_;
  return joins_.find(id, mark.id) == nullptr;
}

int32_t BpeModel::id_of(std::string_view spelled) const {
  if (!character_ids_.empty() && !spelled.empty() &&
      utf8_length_at(spelled, 0) == spelled.size()) {
    size_t at = 0;
    const char32_t character = decode_utf8(spelled, at);
    if (character < character_ids_.size()) return character_ids_[character];
  }
  const auto found = spelling_.find(spelled);
  return found == spelling_.end() ? -1 : found->second;
}

int32_t BpeModel::unknown_id() const {
  if (unknown_id_ < 0) {
    user_error(
        "encoding with {}: found a character without a token, and no token "
        "'{}' (unk_token) for it; expected it in the vocabulary",
        source_, *definition_.unk_token);
  }
  return unknown_id_;
}

}  // namespace annuli
