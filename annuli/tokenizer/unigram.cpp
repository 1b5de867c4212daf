#include "annuli/tokenizer/unigram.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "annuli/core/error.h"
#include "annuli/tokenizer/token_decoder.h"
#include "annuli/tokenizer/word_cache.h"

namespace annuli {
namespace {

constexpr double kUnknownPenalty = 10.0;

std::vector<std::pair<std::string_view, int32_t>> trie_entries(
    const UnigramDefinition& definition) {
  std::vector<std::pair<std::string_view, int32_t>> entries;
  entries.reserve(definition.pieces.size());
  int32_t id = 0;
  for (const auto& [text, score] : definition.pieces) {
    entries.emplace_back(text, id++);
  }
  return entries;
}

void check(const UnigramDefinition& definition) {
  const size_t size = definition.pieces.size();
  if (size == 0 || size > size_t{std::numeric_limits<int32_t>::max()}) {
    user_error(
        "reading tokenizer {}: found a Unigram vocabulary of {} pieces, "
        "expected at least one",
        definition.source, size);
  }
  if (definition.unknown_id &&
      (*definition.unknown_id < 0 ||
       static_cast<size_t>(*definition.unknown_id) >= size)) {
    user_error(
        "reading tokenizer {}: found unk_id {}, expected one of the {} pieces",
        definition.source, *definition.unknown_id, size);
  }
  for (const auto& [text, score] : definition.pieces) {
    if (std::isfinite(score)) continue;
    user_error(
        "reading tokenizer {}: piece '{}' has the score {}, expected a "
        "number",
        definition.source, text, score);
  }
}

}  // namespace

struct UnigramModel::Scratch final : TokenModel::Workspace {
  UnigramPath<double> path;
  WordCache cache;
  std::vector<int32_t> word;  // its ids
};

UnigramModel::UnigramModel(UnigramDefinition definition)
    : definition_(std::move(definition)), byte_ids_(256, -1) {
  check(definition_);
  const auto entries = trie_entries(definition_);
  for (const auto& [text, id] : entries) ids_[text] = id;
  trie_ = PieceTrie(entries);
  double least = std::numeric_limits<double>::infinity();
  for (const auto& [text, score] : definition_.pieces) {
    scores_.push_back(score);
    least = std::min(least, score);
  }
  unknown_score_ = least - kUnknownPenalty;
  for (int byte = 0; byte < 256; ++byte) {
    const auto found =
        ids_.find(token_of_byte(static_cast<unsigned char>(byte)));
    if (found != ids_.end()) byte_ids_[byte] = found->second;
  }
}

std::unique_ptr<TokenModel::Workspace> UnigramModel::make_workspace() const {
  return std::make_unique<Scratch>();
}

void UnigramModel::append_ids(std::string_view word, Workspace& workspace,
                              std::vector<int32_t>& ids) const {
  auto& scratch = static_cast<Scratch&>(workspace);
  // A word that loses bytes is counted each time.
  scratch.cache.append(word, definition_.source, scratch.word, ids, [&] {
    const int64_t dropped = append_best(word, scratch);
    scratch.dropped_bytes += dropped;
    return dropped == 0;
  });
}

int64_t UnigramModel::append_best(std::string_view word,
                                  Scratch& scratch) const {
  const auto& pieces =
      scratch.path.best(word, trie_, scores_, unknown_score_, 0);
  const auto unknown = [&](const UnigramPath<double>::Piece& piece) {
    return piece.id == UnigramPath<double>::kUnknown ||
           piece.id == definition_.unknown_id;
  };
  int64_t dropped = 0;
  for (size_t i = 0; i < pieces.size();) {
    if (!unknown(pieces[i])) {
      scratch.word.push_back(pieces[i++].id);
      continue;
    }
    const size_t begin = pieces[i].begin;
    size_t end = begin;
    for (; i < pieces.size() && unknown(pieces[i]); ++i) end = pieces[i].end;
    dropped += append_unknown(word.substr(begin, end - begin), scratch.word);
  }
  return dropped;
}

void UnigramModel::append_invalid(std::string_view bytes, Workspace& workspace,
                                  std::vector<int32_t>& ids) const {
  workspace.dropped_bytes += append_unknown(bytes, ids);
}

// The number of bytes that nothing stands for.
int64_t UnigramModel::append_unknown(std::string_view text,
                                     std::vector<int32_t>& ids) const {
  const auto piece = ids_.find(text);
  if (piece != ids_.end()) {
    ids.push_back(piece->second);
  } else if (!definition_.byte_fallback || !append_bytes(text, ids)) {
    if (!definition_.unknown_id) return static_cast<int64_t>(text.size());
    ids.push_back(*definition_.unknown_id);
  }
  return 0;
}

// The pieces are hashed with the vocabulary.
void UnigramModel::describe(const Write& write) const {
  for (const auto& [text, score] : definition_.pieces) {
    write(fmt::format("{:016x}", std::bit_cast<uint64_t>(score)));
  }
  write(fmt::format("unknown {} bytes {}", definition_.unknown_id.value_or(-1),
                    definition_.byte_fallback));
}

bool UnigramModel::append_bytes(std::string_view text,
                                std::vector<int32_t>& ids) const {
  const size_t before = ids.size();
  for (unsigned char byte : text) {
    if (byte_ids_[byte] < 0) {
      ids.resize(before);
      return false;
    }
    ids.push_back(byte_ids_[byte]);
  }
  return true;
}

}  // namespace annuli
