// Making a SentencePieceTokenizer from its model: every check on what the file
// says, the tables for encoding, and the hash.
#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>

#include "annuli/core/error.h"
#include "annuli/core/hash.h"
#include "annuli/tokenizer/sentencepiece_tokenizer.h"
#include "annuli/tokenizer/token_decoder.h"
#include "annuli/tokenizer/token_merges.h"
#include "annuli/tokenizer/utf8.h"

namespace annuli {
namespace {

using Type = SentencePieceModel::Type;
using Kind = SentencePieceModel::Kind;

constexpr size_t kMostPieces = size_t{1} << 22;
constexpr float kUnknownPenalty = 10.0f;

[[noreturn]] void refuse(const SentencePieceModel& model,
                         const std::string& found,
                         const std::string& expected) {
  user_error("reading tokenizer {}: found {}, expected {}", model.source, found,
             expected);
}

void check_model(const SentencePieceModel& model) {
  const size_t size = model.pieces.size();
  if (size == 0 || size > kMostPieces) {
    refuse(model, fmt::format("a vocabulary of {} pieces", size),
           "a SentencePiece model with 1 to 4194304; is the file whole?");
  }
  if (model.kind == Kind::kWord || model.kind == Kind::kCharacter) {
    refuse(model, "a SentencePiece model of words or characters",
           "BPE or Unigram");
  }
  if (!model.denormalizer_charsmap.empty()) {
    refuse(model, "a denormalizer", "a SentencePiece model without one");
  }
}

}  // namespace

PieceTrie SentencePieceTokenizer::user_defined(
    const SentencePieceModel& model) {
  std::vector<std::pair<std::string_view, int32_t>> symbols;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const auto& piece = model.pieces[id];
    if (piece.type == Type::kUserDefined) {
      symbols.emplace_back(piece.text, static_cast<int32_t>(id));
    }
  }
  return PieceTrie(std::move(symbols));
}

void SentencePieceTokenizer::build() {
  check_model(model_);
  build_pieces();
  build_symbols();
  if (model_.kind == Kind::kUnigram) {
    build_scores();
  } else {
    build_merges();
  }
  find_cut();
  build_text();
  find_borders();
  hash_ = make_hash();
}

void SentencePieceTokenizer::build_pieces() {
  byte_ids_.fill(-1);
  for (int32_t id = 0; id < vocab_size(); ++id) add_piece(id);
  if (unknown_id_ < 0) refuse(model_, "no unknown piece", "one, as <unk>");
  if (!model_.byte_fallback) return;
  const auto missing = std::find(byte_ids_.begin(), byte_ids_.end(), -1);
  if (missing != byte_ids_.end()) {
    refuse(model_,
           "byte fallback without the piece " +
               token_of_byte(missing - byte_ids_.begin()),
           "one for each of the 256 bytes");
  }
}

void SentencePieceTokenizer::add_piece(int32_t id) {
  const auto& piece = model_.pieces[id];
  const Type type = piece.type;
  if (piece.text.empty())
    refuse(model_, fmt::format("piece {} empty", id), "a text");
  if (!std::isfinite(piece.score)) {
    refuse(model_,
           fmt::format("piece '{}' with the score {}", piece.text, piece.score),
           "a number");
  }
  if (type == Type::kUnused && model_.kind == Kind::kBpe) {
    refuse(model_,
           fmt::format("the unused piece '{}' in a BPE model", piece.text),
           "a vocabulary that is used as a whole");
  }
  const bool reserved =
      type == Type::kUnknown || type == Type::kControl || type == Type::kByte;
  if (!(reserved ? reserved_ : found_).emplace(piece.text, id).second) {
    refuse(model_, fmt::format("piece '{}' twice", piece.text), "it once");
  }
  if (type == Type::kUnknown) {
    if (unknown_id_ >= 0) refuse(model_, "two unknown pieces", "one");
    unknown_id_ = id;
  }
  if (type != Type::kByte) return;
  const auto byte = byte_of_token(piece.text);
  if (!model_.byte_fallback || !byte) {
    refuse(model_, fmt::format("byte piece '{}'", piece.text),
           "<0x00> to <0xFF>, of a model with byte fallback");
  }
  byte_ids_[static_cast<unsigned char>(*byte)] = id;
}

void SentencePieceTokenizer::build_symbols() {
  symbol_lengths_.reserve(model_.pieces.size());
  for (const auto& piece : model_.pieces) {
    symbol_lengths_.push_back(static_cast<uint32_t>(piece.text.size()));
  }
  for (const auto& [text, id] : found_) {
    for (size_t at = 0; at < text.size();) {
      const size_t length = std::max<size_t>(1, utf8_length_at(text, at));
      const std::string_view character = text.substr(at, length);
      at += length;
      const auto known = found_.find(character);
      const auto symbol = known != found_.end()
                              ? known->second
                              : static_cast<int32_t>(symbol_lengths_.size());
      if (!characters_.emplace(character, symbol).second) continue;
      if (known == found_.end()) symbol_lengths_.push_back(length);
    }
  }
  nowhere_ = static_cast<int32_t>(symbol_lengths_.size());
  for (uint32_t length = 1; length <= 4; ++length) {
    symbol_lengths_.push_back(length);
  }
}

// Sums and products in single precision where the library has them so: a user-
// defined symbol is worth more than any way to cut it.
void SentencePieceTokenizer::build_scores() {
  float least = FLT_MAX;
  float most = FLT_MIN;
  for (const auto& piece : model_.pieces) {
    if (piece.type != Type::kNormal) continue;
    least = std::min(least, piece.score);
    most = std::max(most, piece.score);
  }
  unknown_score_ = least - kUnknownPenalty;
  scores_.resize(model_.pieces.size());
  std::vector<std::pair<std::string_view, int32_t>> entries;
  for (const auto& [text, id] : found_) {
    const auto& piece = model_.pieces[id];
    if (piece.type == Type::kUnused) continue;
    const float bonus = static_cast<float>(text.size()) * most - 0.1f;
    scores_[id] = piece.type == Type::kUserDefined ? bonus : piece.score;
    entries.emplace_back(text, id);
  }
  trie_ = PieceTrie(std::move(entries));
}

void SentencePieceTokenizer::build_merges() {
  std::vector<float> scores;
  for (const auto& [text, id] : found_) {
    scores.push_back(model_.pieces[id].score);
  }
  std::sort(scores.begin(), scores.end(), std::greater<>());
  scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
  std::unordered_map<std::string_view, int32_t> symbols = characters_;
  symbols.insert(found_.begin(), found_.end());
  std::vector<RankedToken> tokens;
  for (const auto& [text, id] : found_) {
    const auto rank =
        std::lower_bound(scores.begin(), scores.end(), model_.pieces[id].score,
                         std::greater<>()) -
        scores.begin();
    tokens.push_back({text, static_cast<int32_t>(rank), id});
  }
  merges_ = merges_of_tokens(tokens, symbols);
}

// A cut is free where no piece crosses it: before spaces if none has a space
// behind another character, after spaces if none has one before.
void SentencePieceTokenizer::find_cut() {
  const std::string_view space = normalizer_.space();
  bool inside_before = false;
  bool inside_after = false;
  for (const auto& [text, id] : found_) {
    for (size_t at = text.find(space); at != text.npos;
         at = text.find(space, at + space.size())) {
      const size_t end = at + space.size();
      const auto other = [&](size_t place) {
        return text.substr(place, space.size()) != space;
      };
      inside_before |=
          at > 0 && (at < space.size() || other(at - space.size()));
      inside_after |= end < text.size() && other(end);
    }
  }
  if (!inside_before) {
    cut_ = Cut::kBeforeSpaces;
  } else if (!inside_after) {
    cut_ = Cut::kAfterSpaces;
  }
}

void SentencePieceTokenizer::build_text() {
  for (int32_t id = 0; id < vocab_size(); ++id) {
    const auto& piece = model_.pieces[id];
    std::string text;
    if (piece.type == Type::kUnknown) {
      text = model_.unknown_surface;
    } else if (piece.type == Type::kByte) {
      text = *byte_of_token(piece.text);
    } else if (piece.type != Type::kControl) {
      for (std::string_view rest = piece.text; !rest.empty();) {
        const size_t at = std::min(rest.find(kSentencePieceSpace), rest.size());
        text += rest.substr(0, at);
        if (at == rest.size()) break;
        text += ' ';
        rest.remove_prefix(at + kSentencePieceSpace.size());
      }
    }
    text_.push_back(std::move(text));
  }
  // A piece is preferred to a byte of the same text.
  for (const bool bytes : {false, true}) {
    for (int32_t id = 0; id < vocab_size(); ++id) {
      const auto& piece = model_.pieces[id];
      if ((piece.type == Type::kByte) != bytes) continue;
      const bool named =
          piece.type == Type::kControl || piece.type == Type::kUnknown;
      ids_of_text_.try_emplace(named ? piece.text : text_[id], id);
    }
  }
}

std::optional<int32_t> SentencePieceTokenizer::control_id(
    const std::string& piece) const {
  const auto found = reserved_.find(piece);
  if (found == reserved_.end() ||
      model_.pieces[found->second].type != Type::kControl) {
    return std::nullopt;
  }
  return found->second;
}

void SentencePieceTokenizer::find_borders() {
  end_id_ = control_id(model_.end_piece);
  const auto begin = control_id(model_.begin_piece);
  if (settings_.begin && begin) begin_ids_.push_back(*begin);
  if (settings_.end && end_id_) end_ids_.push_back(*end_id_);
}

std::string SentencePieceTokenizer::make_hash() const {
  Sha256 sha;
  const auto write = [&](std::string_view text) {
    sha.update(std::to_string(text.size()) + ":");
    sha.update(text);
  };
  write("annuli SentencePiece 1");
  write(std::to_string(model_.pieces.size()));
  for (const auto& piece : model_.pieces) {
    write(piece.text);
    write(fmt::format("{} {:08x}", static_cast<int>(piece.type),
                      std::bit_cast<uint32_t>(piece.score)));
  }
  write(fmt::format("kind {} bytes {} suffix {} prefix {} extra {} escape {}",
                    static_cast<int>(model_.kind), model_.byte_fallback,
                    model_.whitespace_as_suffix, model_.add_dummy_prefix,
                    model_.remove_extra_whitespaces,
                    model_.escape_whitespaces));
  write(model_.charsmap);
  return sha.hex();
}

}  // namespace annuli
